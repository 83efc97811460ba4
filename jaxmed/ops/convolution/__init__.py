"""Convolutions as primitives: native, in plain JAX, and XLA's own."""
