"""Schedules: when it goes."""
