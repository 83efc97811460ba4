"""Several answers of one network."""
