"""Heads that predict boxes, what they are trained on, detectors."""
