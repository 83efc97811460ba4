"""Premises about structures in images: what encloses what, what touches, how large, how many."""
