"""Figures: curves, intervals, maps and galleries, in one style."""
