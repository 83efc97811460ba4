"""Uncertainty: decomposition, calibration, selective prediction, out-of-distribution scores."""
