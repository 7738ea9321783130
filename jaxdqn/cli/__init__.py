"""Command lines, and the frame in which every program runs."""
