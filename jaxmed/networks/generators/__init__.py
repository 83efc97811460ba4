"""Networks that make images of noise, of codes or of other images, and critics that judge images."""
