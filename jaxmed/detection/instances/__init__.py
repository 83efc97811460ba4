"""Instances: every object of an image by itself, touching ones too."""
