"""Weights from other libraries' files."""
