"""Reinforcement learning: agents that act, and what they act in, as pure functions."""

from jaxmed.reinforcement._environment import Environment, Step, restarted, vectorised

__all__ = ["Environment", "Step", "restarted", "vectorised"]
