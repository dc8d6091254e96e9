"""From arrays to numbers and their intervals; never a table, an image or a run."""
