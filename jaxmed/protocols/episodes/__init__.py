"""Loops over small tasks and frozen features: episodes, probes, rounds of pseudo-labels."""
