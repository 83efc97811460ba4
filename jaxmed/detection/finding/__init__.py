"""From many overlapping boxes to one an object: suppression, fusion, windows."""
