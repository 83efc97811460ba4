"""Beginning from given weights: freezing, low-rank and bottleneck adaptation, L2-SP."""
