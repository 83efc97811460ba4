"""Data sources: manifests of own data, public data sets, their download and check."""
