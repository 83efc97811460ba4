"""`jaxmed generate`: images drawn by a trained generator."""
