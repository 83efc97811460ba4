"""Multiple-instance learning: one label for a bag of images."""
