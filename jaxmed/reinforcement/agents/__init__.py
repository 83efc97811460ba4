"""Agents: networks of values, how they act, what they remember, how they learn as they go."""
