"""Small processes, each of which shows one thing: a walk, a biased maximum, a star."""

from __future__ import annotations

import numpy as np

from jaxmed.reinforcement.worlds._world import World, world_of


def random_walk(n: int = 5) -> World:
    """A random walk: left or right with equal probability, from the middle; 1 for the right end.

    There is one action, so that there is nothing to choose and values alone to predict: state
    ``i`` of 1 to ``n`` has the value ``i / (n + 1)``. States 0 and ``n + 1`` are the ends.

    Args:
        n: states between the ends.

    Returns:
        The world.

    Raises:
        ValueError: if ``n`` is less than 1.

    References:
        Sutton and Barto (2018), Reinforcement learning: an introduction, example 6.2.

    >>> from jaxmed.reinforcement import policy_evaluation
    >>> policy_evaluation(random_walk(3), discount=1.0).round(3).tolist()
    [0.0, 0.25, 0.5, 0.75, 0.0]
    """
    if n < 1:
        raise ValueError(f"a walk has at least 1 state between its ends, got n={n}")

    def outcomes(state: int, action: int):
        if state in (0, n + 1):
            return [(1.0, state, 0.0, True)]
        return [
            (0.5, state - 1, 0.0, state == 1),
            (0.5, state + 1, float(state == n), state == n),
        ]

    return world_of(outcomes, n + 2, 1, start=(n + 1) // 2)


def maximisation_bias(arms: int = 10, *, mean: float = -0.1, noise: float = 1.0) -> World:
    """The process on which a maximum of estimates is taken for an estimate of the maximum.

    From state 0 half of the actions (the first ones) lead to state 1, for a reward of 0; the others
    end the episode. From state 1 every action ends it, with rewards of the same mean, less than
    0, and of so much noise that one of them seems to be worth while.

    Args:
        arms: actions.
        mean: of the rewards in state 1.
        noise: their standard deviation.

    Returns:
        The world; state 2 is the end.

    Raises:
        ValueError: if there are fewer than 2 arms, or the noise is negative.

    References:
        Sutton and Barto (2018), Reinforcement learning: an introduction, example 6.7.
    """
    if arms < 2 or noise < 0:
        raise ValueError(f"the process has 2 arms or more and no negative noise: {arms}, {noise}")

    def outcomes(state: int, action: int):
        if state == 0 and action < arms // 2:
            return [(1.0, 1, 0.0, False)]
        return [(1.0, 2, mean if state == 1 else 0.0, True)]

    spread = np.zeros((3, arms))
    spread[1] = noise
    return world_of(outcomes, 3, arms, noise=spread)


def baird_star() -> World:
    """Baird's star: values that are all 0, and that off-policy learning drives to infinity.

    Action 0 leads to one of the states 0 to 5, each with a probability of 1/6, action 1 to state 6.
    All rewards are 0 and no episode ends. An agent sees the features ``2 e_i + e_7`` of state
    ``i``, and ``e_6 + 2 e_7`` of state 6. Who learns what action 1 is worth (discount 0.99) while
    behaving by action 0 with a probability of 6/7 has values that grow without bounds, unless by
    :func:`~jaxmed.reinforcement.gradient_td`.

    Returns:
        The world.

    References:
        Baird (1995), Residual algorithms: reinforcement learning with function approximation, ICML.
        Sutton and Barto (2018), Reinforcement learning: an introduction, section 11.2.
    """

    def outcomes(state: int, action: int):
        if action == 1:
            return [(1.0, 6, 0.0, False)]
        return [(1 / 6, to, 0.0, False) for to in range(6)]

    features = np.zeros((7, 8))
    features[np.arange(6), np.arange(6)] = 2
    features[:6, 7] = 1
    features[6, 6:] = 1, 2
    return world_of(outcomes, 7, 2, start=[1 / 7] * 7, features=features)
