"""Tasks that come one after the other: what is kept of the earlier ones."""
