"""Reinforcement learning: agents that act, and what they act in, as pure functions."""

from jaxmed.reinforcement._environment import Environment, Step, restarted, vectorised
from jaxmed.reinforcement.imaging._landmark import landmark
from jaxmed.reinforcement.imaging._place import Place, place
from jaxmed.reinforcement.imaging._volumes import PackedVolumes, pack_volumes
from jaxmed.reinforcement.worlds._cliff import cliff_walk
from jaxmed.reinforcement.worlds._lake import frozen_lake
from jaxmed.reinforcement.worlds._processes import baird_star, maximisation_bias, random_walk
from jaxmed.reinforcement.worlds._solutions import (
    Solution,
    policy_evaluation,
    policy_iteration,
    value_iteration,
)
from jaxmed.reinforcement.worlds._world import World, WorldState, world_environment, world_of

__all__ = [
    "Environment",
    "PackedVolumes",
    "Place",
    "Solution",
    "Step",
    "World",
    "WorldState",
    "baird_star",
    "cliff_walk",
    "frozen_lake",
    "landmark",
    "maximisation_bias",
    "pack_volumes",
    "place",
    "policy_evaluation",
    "policy_iteration",
    "random_walk",
    "restarted",
    "value_iteration",
    "vectorised",
    "world_environment",
    "world_of",
]
