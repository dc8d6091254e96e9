"""Data cards: what is known of a data set, its licence terms, and its Croissant form."""
