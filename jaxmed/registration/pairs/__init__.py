"""One image moved onto another by optimisation."""
