"""Environments in which agents look at images."""
