"""Labels of which some are wrong, images that are there twice."""
