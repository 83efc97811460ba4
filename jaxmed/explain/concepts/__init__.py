"""Reasons that have names: concepts, prototypes, examples."""
