"""Premises about yes/no statements, and the assignments that satisfy them."""
