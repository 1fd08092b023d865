"""Restorers measured over pairs of pictures: the run, the numbers, tables and comparison pictures."""
