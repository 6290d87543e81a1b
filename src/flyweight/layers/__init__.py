"""Efficient layers, for inference: what pruned layers become so that they run on the sparse kernels."""
