"""What uncertainty is of, and its use: decomposition, calibration, selection, strangers."""
