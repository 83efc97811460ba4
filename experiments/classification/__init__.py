"""One label or several for a whole image."""
