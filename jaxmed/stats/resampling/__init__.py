"""Bootstrap, jackknife and shared resamples."""
