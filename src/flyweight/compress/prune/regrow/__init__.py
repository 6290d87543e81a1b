"""Sparse training: rules that drop and regrow elements."""
