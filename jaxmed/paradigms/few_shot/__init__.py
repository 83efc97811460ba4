"""Learning a class from a few examples: episodes, prototypes, adaptation by gradient steps."""
