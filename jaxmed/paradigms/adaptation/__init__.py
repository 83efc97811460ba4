"""A trained network on images of another kind: its statistics and its entropy, without labels."""
