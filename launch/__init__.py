"""Starts training in several processes: on this machine, on clusters, in sweeps."""
