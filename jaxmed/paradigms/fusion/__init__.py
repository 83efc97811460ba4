"""Several modalities of a case in one network, any of which may be missing."""
