"""From scores to numbers: every function takes arrays and never sees an image or a model."""
