"""Posteriors over a network's parameters, and the likelihoods and priors they are made of."""
