"""`jaxmed label DATA`: a page on this computer on which a person labels images."""
