"""Synthetic images beside real ones, by their features: distances, neighbourhoods, copies."""
