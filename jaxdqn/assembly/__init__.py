"""From the settings of a run to compiled functions."""
