"""Few-shot episodes, probes of frozen features, and rounds of pseudo-labelling."""
