"""Measures how fast jaxdqn is. Each module is a program: `python -m benchmarks.throughput`."""
