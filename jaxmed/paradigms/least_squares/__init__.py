"""Solved and not stepped: sums over the data, from which least squares follow at once."""
