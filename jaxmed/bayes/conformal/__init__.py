"""Conformal prediction: sets, intervals and controlled risks, with coverage that holds."""
