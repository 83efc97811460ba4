"""`jaxmed explain`: why a trained run answers as it does, and how far the maps can be trusted."""
