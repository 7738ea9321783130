"""Frozen agents at play: evaluations, films, pictures."""
