"""Modules that are solved one after the other, each on the predictions of those below."""
