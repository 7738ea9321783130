"""The mathematics of agents: arrays in, arrays out. No devices, environments or files."""
