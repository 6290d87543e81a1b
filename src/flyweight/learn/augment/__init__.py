"""Transformations of the inputs: those that keep the label, and those that mix labels."""
