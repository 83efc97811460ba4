"""`jaxmed power`: the size or the power of a study."""
