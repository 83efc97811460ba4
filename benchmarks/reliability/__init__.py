"""What becomes of interrupted work and of damaged files: both counted, by two commands.

``python -m benchmarks soak`` kills trainings, grids, rounds and predictions at random moments and
starts them again; ``python -m benchmarks mutations`` gives commands files that were changed at
random.
"""
