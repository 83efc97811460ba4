"""A weighted sum of objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxmed.core import Metrics, Objective, merge_named, share_passes, stream, within
from jaxmed.paradigms.base._schedules import Scheduled, advance, counter_for, value_at


def weighted(
    objectives: Mapping[str, Objective], weights: Mapping[str, Scheduled] | None = None
) -> Objective:
    """The weighted sum of named objectives, ``sum_i w_i * loss_i``.

    All of them see one key. Each draws from streams that it names, so adding an objective
    changes no other's draws; and where several look at the same inputs they share one forward
    pass. ``weighted({"a": o})`` is ``o``, and the order of the names plays no part.

    Args:
        objectives: by name. Each one's parameters and state live under its name.
        weights: by name, 1 where absent: a number, or a function of the step (a ramp).

    Returns:
        The objective. Its metrics are the parts', as ``name/metric``, with ``name/loss`` the
        part's loss before weighting.

    Raises:
        ValueError: if there is no objective, or a weight for none of them.

    >>> import jaxmed as jm
    >>> both = weighted(
    ...     {
    ...         "grade": jm.supervised(jm.losses.cross_entropy, output="grade", target="grade"),
    ...         "tumour": jm.supervised(jm.losses.dice, output="tumour", target="mask"),
    ...     },
    ...     {"grade": 0.5},
    ... )
    """
    weights = dict(weights or {})
    if not objectives:
        raise ValueError("weighted needs at least one objective")
    if unknown := sorted(set(weights) - set(objectives)):
        raise ValueError(f"weights for {unknown}, but the objectives are {sorted(objectives)}")
    names = sorted(objectives)
    parts = {name: within(objectives[name], name) for name in names}
    ramps = any(callable(weight) for weight in weights.values())
    if ramps and "step" in names:
        raise ValueError("no objective may be called 'step' where a weight is a function")

    def init(key, network, params, state, batch):
        own = {
            name: objectives[name].init(stream(key, name), network, params, state, batch)
            for name in names
        }
        own_params = {name: own[name][0] for name in names}
        own_state = {name: own[name][1] for name in names}
        return own_params, {**own_state, **counter_for(*weights.values())}

    def loss(network, params, state, batch, key):
        network = share_passes(network)
        total: Any = 0.0
        metrics: Metrics = {}
        for name in names:
            value, (state, measured) = parts[name].loss(network, params, state, batch, key)
            total = total + value_at(weights.get(name, 1.0), state["obj"]) * value
            measured = merge_named(measured, {"loss": value})
            metrics |= {f"{name}/{metric}": number for metric, number in measured.items()}
        return total, (state, metrics)

    def post_step(params, state):
        for name in names:
            state = parts[name].post_step(params, state)
        return advance(state) if ramps else state

    def predictors(params, state):
        return {
            f"{name}/{predictor}": variables
            for name in names
            for predictor, variables in parts[name].predictors(params, state).items()
        }

    return Objective(init, loss, post_step, predictors)
