"""Networks for images and volumes, one family a file."""
