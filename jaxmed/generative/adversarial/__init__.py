"""Generators that learn from critics: images from noise, and images from images."""
