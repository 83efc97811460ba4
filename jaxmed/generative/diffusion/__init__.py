"""Diffusion and flows: images out of noise, or out of other images, step by step."""
