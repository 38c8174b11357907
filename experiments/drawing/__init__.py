"""Figures: functions of numbers that return one, and know of no files."""
