"""Bootstrap, jackknife and the resamples they share."""
