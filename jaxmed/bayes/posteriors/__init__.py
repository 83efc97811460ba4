"""Posteriors over a network's parameters, with their likelihoods and priors."""
