"""How fast jaxdqn is, measured; each module is a program: `python -m benchmarks.throughput`."""
