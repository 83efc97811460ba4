"""An objective and a term beside it: the form of most semi-supervised paradigms."""

from __future__ import annotations

from jaxmed.core import Objective, stream, within


def added(objective: Objective, term: Objective) -> Objective:
    """The sum of an objective and a term that knows nothing of it.

    The term's own parameters and state, dicts, stand beside the name ``objective``, under which
    the objective's are; of metrics of one name the term's is kept.
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
        return tuple({"objective": a, **b} for a, b in zip(theirs, mine, strict=True))

    def loss(network, params, state, batch, key):
        value, (state, metrics) = inner.loss(network, params, state, batch, key)
        extra, (mine, more) = term.loss(network, own(params), own(state), batch, key)
        return value + extra, (joined(state, mine), {**metrics, **more})

    def after(params, state):
        state = inner.after(params, state)
        return joined(state, term.after(own(params), own(state)))

    return Objective(init, loss, after)
