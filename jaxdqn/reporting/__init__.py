"""One page that compares many runs."""
