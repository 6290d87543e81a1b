"""Pruning: score × structure × distribution × schedule."""
