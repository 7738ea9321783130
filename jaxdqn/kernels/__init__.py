"""Convolutions for CPUs, where JAX's own are too slow, and the build of their C++."""
