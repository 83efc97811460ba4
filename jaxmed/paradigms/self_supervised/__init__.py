"""Learning without labels: contrast, reconstruction, pretext tasks."""
