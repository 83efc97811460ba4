"""Reporting guidelines: what CLAIM, TRIPOD+AI and Metrics Reloaded ask."""
