"""Pure tensor mathematics: no modules, no training, no files."""
