"""Poolings of a bag's instances."""
