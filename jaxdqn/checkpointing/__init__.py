"""Checkpoints of a run, and its replay on disk."""
