"""Objects in images: boxes found against true ones, precision, sensitivity by false marks."""
