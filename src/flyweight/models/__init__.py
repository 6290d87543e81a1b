"""Whole model families, width and depth as arguments."""
