"""What competes with each other: tiles of a weight, coupled groups, whole layers."""
