"""Models that draw images."""
