"""Networks for images and volumes, one family per file."""
