"""Times to an event, some of them censored: curves, tests, models, and predictions judged."""
