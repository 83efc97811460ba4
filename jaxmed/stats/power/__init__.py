"""Power and sample size: closed-form, for a given precision, by simulation."""
