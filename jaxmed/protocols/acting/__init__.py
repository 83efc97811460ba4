"""Agents that learn as they act, and how well they do."""
