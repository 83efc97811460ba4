"""Players that take turns: adversaries, critics, actors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxmed.core import Key, Learner, LearnerState, Predicting, Variables, stream


def alternate(
    players: Mapping[str, Learner],
    *,
    predicts: str,
    repeats: Mapping[str, int] | None = None,
) -> Learner:
    """Learners that step in turn, each seeing the others' present parameters.

    In each step every player, in the order given, steps on the batch with one more entry:
    ``batch["players"][name]`` is ``{"params": ..., "state": ...}`` of each *other* player. To a
    player they are data, so no gradient flows into them: an objective of a generator applies the
    critic's network to the critic's parameters found there.

    Args:
        players: learners by name, in the order of their turns.
        predicts: the player whose ``predict`` is the whole's.
        repeats: how often a player steps in its turn, 1 where absent.

    Returns:
        The learner. Each field of its state but ``step`` is a dict by player; metrics are
        ``player/metric``, and ``loss`` is the sum of the players' losses.

    Raises:
        ValueError: if there are fewer than two players, or ``predicts`` or ``repeats`` names none.

    References:
        Goodfellow et al. (2014), Generative adversarial nets, NeurIPS.
    """
    repeats = dict(repeats or {})
    names = list(players)
    if len(names) < 2:
        raise ValueError(f"alternate needs at least two players, got {names}")
    if unknown := sorted({predicts, *repeats} - set(names)):
        raise ValueError(f"no player is called {unknown}; there are {names}")
    if bad := {name: times for name, times in repeats.items() if times < 1}:
        raise ValueError(f"a player steps at least once in its turn, got {bad}")

    def seen_by(name: str, states: Mapping[str, LearnerState], batch) -> dict:
        others = {
            other: {"params": state.params, "state": state.state}
            for other, state in states.items()
            if other != name
        }
        return {**batch, "players": others}

    def init(key: Key, batch) -> LearnerState:
        states: dict[str, LearnerState] = {}
        for name, player in players.items():
            states[name] = player.init(stream(key, "player", name), seen_by(name, states, batch))
        return _join(jnp.zeros((), jnp.int32), states)

    def step(state: LearnerState, batch):
        states = {name: _part(state, name, repeats.get(name, 1)) for name in names}
        metrics, loss = {}, 0.0
        for name, player in players.items():
            for _ in range(repeats.get(name, 1)):
                states[name], measured = player.step(states[name], seen_by(name, states, batch))
            metrics |= {f"{name}/{metric}": value for metric, value in measured.items()}
            loss = loss + measured["loss"]
        return _join(state.step + 1, states), {**metrics, "loss": loss}

    def predict(state: LearnerState, inputs):
        return players[predicts].predict(part(state), inputs)

    # What predicts is the part of one player, and what the learner of that player says of it.
    inside = players[predicts].predicting

    def part(state: LearnerState) -> LearnerState:
        return _part(state, predicts, repeats.get(predicts, 1))

    def with_variables(state: LearnerState, new: Variables) -> LearnerState:
        own = inside.set(part(state), new)
        changed = {
            field: {**getattr(state, field), predicts: getattr(own, field)}
            for field in LearnerState._fields[1:]
        }
        return state._replace(**changed)

    return Learner(
        init,
        step,
        predict,
        Predicting(
            get=lambda state: inside.get(part(state)),
            set=with_variables,
            others=lambda state: inside.others(part(state)),
        ),
    )


def _join(step, states: Mapping[str, LearnerState]) -> LearnerState:
    def by_player(field: str) -> Any:
        return {name: getattr(state, field) for name, state in states.items()}

    return LearnerState(step, **{field: by_player(field) for field in LearnerState._fields[1:]})


def _part(state: LearnerState, name: str, repeats: int) -> LearnerState:
    # A player's own step counts its turns' repeats, so that each repeat draws afresh.
    return LearnerState(
        state.step * repeats, *(getattr(state, field)[name] for field in LearnerState._fields[1:])
    )
