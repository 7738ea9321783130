"""Which transitions are drawn from the ring: one file for each sampler."""
