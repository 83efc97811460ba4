"""Few labels or few examples: semi- and self-supervised, transfer, episodes."""
