"""Pooling layers over the instances of a bag."""
