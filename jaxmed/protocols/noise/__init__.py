"""Labels that may be wrong: which, how many, and as what they are written down."""
