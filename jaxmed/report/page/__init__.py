"""What is written: the HTML page, tables, the record for machines."""
