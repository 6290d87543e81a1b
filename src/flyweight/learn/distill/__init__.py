"""Losses that learn from a teacher."""
