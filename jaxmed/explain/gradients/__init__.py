"""Maps from derivatives."""
