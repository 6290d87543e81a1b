"""Training that makes weights or channels wither."""
