"""Reader studies: multi-reader multi-case analysis, FROC, agreement of raters."""
