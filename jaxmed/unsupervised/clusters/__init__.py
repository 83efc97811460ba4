"""Clusters: k-means, mixtures of Gaussians, how many there are, how well two partitions agree."""
