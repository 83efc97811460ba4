"""Maps from the layers of the traced program."""
