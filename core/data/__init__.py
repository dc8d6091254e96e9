"""From files to batches: manifest, split, audit, strict reading, the prepared store, the loader."""
