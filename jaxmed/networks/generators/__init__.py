"""Networks that make images of noise, codes or other images, and critics that judge images."""
