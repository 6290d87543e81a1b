"""The faces of a frontier, made from its points' JSON alone."""
