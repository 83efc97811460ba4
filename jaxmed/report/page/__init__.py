"""Output files: the HTML page, tables, the machine-readable record."""
