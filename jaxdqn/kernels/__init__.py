"""Convolutions that JAX's own are too slow for on CPUs, and the build of their C++."""
