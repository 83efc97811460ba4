"""Networks that predict the warp of a pair, and what they are trained by."""
