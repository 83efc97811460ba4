"""Cliff walking: the shortest way leads along an abyss."""

from __future__ import annotations

from jaxmed.reinforcement.worlds._world import World, world_of

_HEIGHT, _WIDTH = 4, 12
_START, _GOAL = 36, 47
_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left


def cliff_walk(*, slippery: bool = False) -> World:
    """Cliff walking: each step costs 1, one over the cliff 100 and leads back to the start.

    Args:
        slippery: whether a step goes to either side of where it was meant to, with a probability
            of 1/3 each.

    Returns:
        The world, 4 rows of 12 states. Actions are up, right, down, left, as gymnasium numbers
        them. The best return is -13, along the edge.

    References:
        Sutton and Barto (2018), Reinforcement learning: an introduction, example 6.6.

    >>> cliff_walk()
    World of 48 states and 4 actions
    """

    def outcomes(state: int, action: int):
        if state == _GOAL:
            return [(1.0, state, 0.0, True)]
        found = []
        for turned in (action - 1, action, action + 1) if slippery else (action,):
            down, right = _MOVES[turned % 4]
            row = min(max(state // _WIDTH + down, 0), _HEIGHT - 1)
            column = min(max(state % _WIDTH + right, 0), _WIDTH - 1)
            to = row * _WIDTH + column
            share = 1 / 3 if slippery else 1.0
            if _START < to < _GOAL:
                found.append((share, _START, -100.0, False))
            else:
                found.append((share, to, -1.0, to == _GOAL))
        return found

    return world_of(outcomes, _HEIGHT * _WIDTH, 4, start=_START)
