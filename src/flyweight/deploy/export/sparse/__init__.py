"""Rewriting an exported graph for the sparse kernels: what they can run is found, timed, and written in their form."""
