"""The page of runs that are under way, served on this machine and renewed as they write rows."""
