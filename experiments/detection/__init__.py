"""Boxes around objects."""
