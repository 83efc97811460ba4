"""Public data sets by their names: readers, the download and its check."""
