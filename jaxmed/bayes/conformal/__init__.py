"""Conformal prediction: sets, intervals and risk control with finite-sample guarantees."""
