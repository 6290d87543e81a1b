"""What ``benchmarks/sparse_speed.py`` runs: one program, a task a file."""
