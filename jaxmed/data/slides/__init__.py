"""Whole slides: pyramids of microscopy, read by micrometres."""
