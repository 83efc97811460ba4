"""Power and sample size: in closed form, for a stated precision, by simulation."""
