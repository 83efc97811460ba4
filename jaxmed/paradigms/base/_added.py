"""An objective and a term beside it: the form of most semi-supervised paradigms."""

from __future__ import annotations

from jaxmed.core import Objective, merge_named, stream, within


def added(objective: Objective, term: Objective) -> Objective:
    """The sum of an objective and a term that knows nothing of it.

    The term's own parameters and state, dicts, stand beside the name ``objective``, under which
    the objective's are. Of metrics and predictors of one name the term's keeps it, and the
    objective's becomes ``objective/name``.
    """
    inner = within(objective, "objective")

    def own(tree):
        mine = {name: value for name, value in tree["obj"].items() if name != "objective"}
        return {"net": tree["net"], "obj": mine}

    def joined(state, mine):
        return {"net": mine["net"], "obj": {**mine["obj"], "objective": state["obj"]["objective"]}}

    def init(key, network, params, state, batch):
        theirs = objective.init(key, network, params, state, batch)
        mine = term.init(stream(key, "term"), network, params, state, batch)
        params, state = ({"objective": a, **b} for a, b in zip(theirs, mine, strict=True))
        return params, state

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        extra, (mine, more) = term.loss(network, own(params), own(state), batch, key)
        return value + extra, (joined(state, mine), merge_named(metrics, more))

    def post_step(params, state):
        state = inner.post_step(params, state)
        return joined(state, term.post_step(own(params), own(state)))

    def predictors(params, state):
        return merge_named(
            inner.predictors(params, state), term.predictors(own(params), own(state))
        )

    loss.__qualname__ = getattr(term.loss, "__qualname__", loss.__qualname__)  # What print shows.
    return Objective(init, loss, post_step, predictors)
