"""Reinforcement learning: agents that act, and what they act in, as pure functions."""

from jaxmed.reinforcement._environment import Environment, Step, restarted, vectorised
from jaxmed.reinforcement.imaging._place import Place, place
from jaxmed.reinforcement.imaging._volumes import PackedVolumes, pack_volumes

__all__ = [
    "Environment",
    "PackedVolumes",
    "Place",
    "Step",
    "landmark",
    "pack_volumes",
    "place",
    "restarted",
    "vectorised",
]
