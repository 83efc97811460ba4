"""Heads: what turns a trunk's endpoints into answers."""
