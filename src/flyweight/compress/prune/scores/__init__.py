"""Scores: how much an element of a weight matters."""
