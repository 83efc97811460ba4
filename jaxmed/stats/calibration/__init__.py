"""Are probabilities true: reliability, calibration tests, recalibration."""
