"""Accuracy of a diagnostic test or classifier: rates, curves, proper scores."""
