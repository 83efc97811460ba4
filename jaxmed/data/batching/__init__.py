"""Batches as functions of the step, and the splits they are drawn from."""
