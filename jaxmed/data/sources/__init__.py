"""Data sources: manifests of own data, in tables and folders, and their check."""
