"""From a model to a file that a runtime opens, and the proof that both compute the same."""
