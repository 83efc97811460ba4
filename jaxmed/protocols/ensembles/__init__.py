"""Several models as one: pools, weights, models of models."""
