"""Inference for studies: closed forms, evidence, hierarchical models, checks of samplers."""
