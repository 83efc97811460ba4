"""Maps from one space to another, in millimetres."""
