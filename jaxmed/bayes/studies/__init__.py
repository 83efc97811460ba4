"""Bayesian inference for studies: closed forms, evidence, hierarchical models, sampler checks."""
