"""Autoencoders that images are drawn from: variational, in levels, with a codebook."""
