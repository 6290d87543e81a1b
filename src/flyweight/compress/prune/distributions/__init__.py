"""Distributions: how much each layer loses."""
