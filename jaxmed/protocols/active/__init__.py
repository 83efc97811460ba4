"""Which cases to label next: acquisition, rounds, curves of labels."""
