"""How a quantization range is chosen from what was observed: one rule a file."""
