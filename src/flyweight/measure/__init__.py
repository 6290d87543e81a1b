"""Measuring artifacts: size, parameters, multiply-accumulates, memory, latency, energy."""
