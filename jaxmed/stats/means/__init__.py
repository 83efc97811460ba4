"""Means and medians of per-case values, with normal and t tests."""
