"""One page about many runs."""
