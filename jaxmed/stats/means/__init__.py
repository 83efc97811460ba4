"""Means and medians of per-case values, and the normal and t tests of them."""
