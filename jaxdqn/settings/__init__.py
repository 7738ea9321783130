"""The settings of a run, presets and protocols. Nothing here imports JAX."""
