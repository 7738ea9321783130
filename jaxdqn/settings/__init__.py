"""What a run is told: its settings, presets and protocols. Nothing here imports JAX."""
