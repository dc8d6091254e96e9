"""From labelled data to a run: fingerprint, recipe, one network, what is stored at the end."""
