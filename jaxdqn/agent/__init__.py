"""The mathematics of agents: arrays in, arrays out; no device, environment or file."""
