"""How a run learns: one file for each algorithm, and what they share."""
