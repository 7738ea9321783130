"""Starts training on more than one process: on this machine, on clusters, in sweeps."""
