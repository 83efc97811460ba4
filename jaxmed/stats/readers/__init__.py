"""Several readers: multi-reader multi-case analysis, FROC, agreement of raters."""
