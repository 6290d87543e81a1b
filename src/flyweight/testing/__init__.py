"""The contract suite: what every step must keep."""
