"""Trunks that end in one answer an image: `features`, and `logits` with `classes`."""
