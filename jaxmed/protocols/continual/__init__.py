"""Tasks one after the other: how much of each is left."""
