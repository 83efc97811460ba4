"""Many images moved onto their mean."""
