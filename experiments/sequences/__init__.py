"""Sequences: heart beats, and images read by rows."""
