"""From new images to scored rows: the networks of a run, and the journal of finished blocks."""
