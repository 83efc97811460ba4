"""Reporting guidelines: CLAIM, TRIPOD+AI and Metrics Reloaded."""
