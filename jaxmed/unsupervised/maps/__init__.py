"""Maps: rows as points of a plane, and how far to trust them."""
