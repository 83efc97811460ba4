"""Comparisons of models or groups: paired and unpaired tests, permutation, multiplicity."""
