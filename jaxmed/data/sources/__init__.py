"""Sources of examples: tables of one's own, public data sets, their download and check."""
