"""The trace of coupled dimensions: which channels, neurons and heads live and die together, and their removal."""
