"""What each operation computes, written plainly in torch, apart from the library: its twin, and its fallback."""
