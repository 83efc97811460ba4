"""Experiments by name or path: what there is, its options, how a run is begun and goes on."""
