"""Command lines, and the frame that every program runs in."""
