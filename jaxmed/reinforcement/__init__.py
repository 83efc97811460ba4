"""Reinforcement learning: agents that act, and what they act in, as pure functions.

An :class:`Environment` is three functions, ``reset``, ``step`` and ``observe``. For images
:func:`landmark` walks to a point; :func:`frozen_lake` and its like are worlds as tables, of which
:func:`policy_evaluation`, :func:`policy_iteration` and :func:`value_iteration` know the answer, and
:func:`world_environment` makes environments.

What is learned is said by an objective over any network: :func:`td`, :func:`gradient_td`,
:func:`sarsa`, :func:`expected_sarsa`, :func:`q_learning`, :func:`double_q_learning`,
:func:`actor_critic`, :func:`ppo`. :func:`off_policy` (with a :func:`replay`) and :func:`on_policy`
make of a learner one that acts; :func:`jaxmed.protocols.interact` trains it, :func:`play` plays
whole episodes with it, :func:`jaxmed.protocols.evaluate_policy` sums them up.
"""

from jaxmed.reinforcement._environment import Environment, Step, restarted, vectorised
from jaxmed.reinforcement.agents._behaviour import boltzmann, epsilon_greedy
from jaxmed.reinforcement.agents._networks import dueling, table
from jaxmed.reinforcement.agents._off_policy import off_policy
from jaxmed.reinforcement.agents._on_policy import on_policy
from jaxmed.reinforcement.agents._play import Played, play
from jaxmed.reinforcement.agents._replay import Memory, Replay, replay
from jaxmed.reinforcement.imaging._box import Box, box
from jaxmed.reinforcement.imaging._heads import landmark_heads
from jaxmed.reinforcement.imaging._landmark import landmark
from jaxmed.reinforcement.imaging._place import Place, place
from jaxmed.reinforcement.imaging._view import (
    PlaneError,
    plane_error,
    plane_image,
    planes_of,
    view,
)
from jaxmed.reinforcement.imaging._volumes import PackedVolumes, pack_volumes
from jaxmed.reinforcement.objectives._actor_critic import actor_critic, ppo
from jaxmed.reinforcement.objectives._gradient_td import gradient_td
from jaxmed.reinforcement.objectives._q_learning import double_q_learning, q_learning
from jaxmed.reinforcement.objectives._returns import advantages, lambda_returns
from jaxmed.reinforcement.objectives._sarsa import expected_sarsa, sarsa
from jaxmed.reinforcement.objectives._td import td
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
    "Box",
    "Environment",
    "Memory",
    "PackedVolumes",
    "Place",
    "PlaneError",
    "Played",
    "Replay",
    "Solution",
    "Step",
    "World",
    "WorldState",
    "actor_critic",
    "advantages",
    "baird_star",
    "boltzmann",
    "box",
    "cliff_walk",
    "double_q_learning",
    "dueling",
    "epsilon_greedy",
    "expected_sarsa",
    "frozen_lake",
    "gradient_td",
    "lambda_returns",
    "landmark",
    "landmark_heads",
    "maximisation_bias",
    "off_policy",
    "on_policy",
    "pack_volumes",
    "place",
    "plane_error",
    "plane_image",
    "planes_of",
    "play",
    "policy_evaluation",
    "policy_iteration",
    "ppo",
    "q_learning",
    "random_walk",
    "replay",
    "restarted",
    "sarsa",
    "table",
    "td",
    "value_iteration",
    "vectorised",
    "view",
    "world_environment",
    "world_of",
]
