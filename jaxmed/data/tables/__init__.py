"""Tables as people write them: text, workbooks, JSON; their columns and labels."""
