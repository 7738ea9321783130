"""A high-throughput JAX trainer for deep Q-networks on vectorized environments."""

__version__ = "0.1.0"
