"""Vectorized emulators and games. Nothing here imports JAX."""
