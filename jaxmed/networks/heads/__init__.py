"""Heads that map a trunk's endpoints to predictions."""
