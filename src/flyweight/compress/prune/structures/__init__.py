"""Structures: what goes together."""
