"""Runtimes, one a file; none of them imports torch, so that a fresh process measures the runtime alone."""
