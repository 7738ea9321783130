"""From observations to features: one file for each kind of encoder."""
