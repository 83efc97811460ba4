"""Convolution primitives: native (oneDNN), plain JAX, and XLA implementations."""
