"""One's own images: planned, trained, measured, without a line of Python."""
