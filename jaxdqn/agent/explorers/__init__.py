"""How actions are chosen in training: one file for each explorer."""
