"""Calibration of probabilities: reliability, tests, recalibration."""
