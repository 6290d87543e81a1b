"""Changing a model's structure: walk, replace, fold, and the chain of parametrizations with its stored forms."""
