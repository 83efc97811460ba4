"""One label for a bag of instances."""
