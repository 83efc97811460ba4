"""`jaxmed predict`: what a trained run says of new images."""
