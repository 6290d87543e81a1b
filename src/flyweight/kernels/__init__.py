"""The sparse kernels: the native library, its binding, and the torch operations with their reference twins."""
