"""Steps that make a model smaller."""
