"""Quantization, after training and aware."""
