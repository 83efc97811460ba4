"""A learner that solves: a linear head on fixed features, by least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import (
    Array,
    Batch,
    Batches,
    Endpoints,
    Inputs,
    Key,
    Learner,
    LearnerState,
    Metrics,
    Network,
    Predicting,
    PyTree,
    Variables,
    network_inputs,
    pick,
    stream,
)
from jaxmed.networks import LinearHead
from jaxmed.paradigms.base._heads import Head, with_heads
from jaxmed.paradigms.base._supervised import Known
from jaxmed.paradigms.least_squares._moments import (
    Moments,
    fade_moments,
    merge_moments,
    moments_of,
    no_moments,
)
from jaxmed.paradigms.least_squares._ridge import (
    Linear,
    alive,
    choose_ridge,
    least_ridge,
    leave_one_out_of,
    ridge_grid,
    solve_ridge,
    solve_spectrum,
    spectrum,
)
from jaxmed.paradigms.least_squares._targets import Targets, coding, rows_of

Ridge = float | str | Sequence[float]
_CHOOSE = -1.0  # In the state, in a ridge's place: it is chosen when it is solved.


class LeaveOneOut(NamedTuple):
    """What :meth:`ClosedForm.leave_one_out` returns.

    Attributes:
        state: the learner's state, with the best of the ridges.
        ridge: that ridge.
        ridges: those compared.
        squared_error: of each ridge: the weighted mean over examples of the squared error without
            the example, summed over outputs.
        error: of each ridge: the weighted share of examples whose class is not the largest of the
            outputs, each example predicted by all others; None for numbers.
    """

    state: LearnerState
    ridge: float
    ridges: np.ndarray
    squared_error: np.ndarray
    error: np.ndarray | None


class ClosedForm(Learner):
    """A learner whose step adds up, and whose prediction solves.

    Attributes:
        network: the features with the linear head, as :func:`~jaxmed.paradigms.with_heads` makes
            it: what ``predicting.get(state)`` are the parameters of, to save, export or train on.
        solve: ``state -> state`` with the solution held, so that predictions need not solve again;
            refuses sums from which nothing follows. The next step lets go of it.
        leave_one_out: ``(state, batches, ridges=None) ->`` :class:`LeaveOneOut`: each example
            predicted by all others, exactly, by one more pass over the examples of the sums.
        merge: ``(state, other) -> state`` of the examples of both.
    """

    network: Network
    solve: Callable[[LearnerState], LearnerState]
    leave_one_out: Callable[..., LeaveOneOut]
    merge: Callable[[LearnerState, LearnerState], LearnerState]

    def __new__(cls, learner: Learner, **more: Any) -> ClosedForm:
        """Make one of a learner and what it offers besides."""
        made = super().__new__(cls, *learner)
        for name, value in more.items():
            setattr(made, name, value)
        return made


def closed_form(
    network: Network,
    *,
    ridge: Ridge = "gcv",
    classes: int | None = None,
    output: str = "features",
    targets: Targets = "one-hot",
    target: str = "label",
    inputs: Inputs = "image",
    head: str = "logits",
    standardise: bool = True,
    class_weights: Sequence[float] | None = None,
    known: Known | None = None,
    draw: bool = False,
    forget: float = 1.0,
) -> ClosedForm:
    """A linear head on a network that does not learn, by ridge regression on all examples seen.

    ``step`` adds the batch's sums of products to the state, ``predict`` solves. So the order and
    the size of batches and the number of devices change nothing but rounding, the sums of two
    halves are those of the whole, and an example of weight 0 does not count. With a network of
    random weights this is the extreme learning machine, with a trained one a probe, on ``pyramid``
    a classifier of voxels.

    The least of ``sum w |y - h kernel - bias|^2 + ridge |kernel|^2`` is found by Cholesky's
    factorisation of the sums about the means, ``(features, features)``, in float64 where JAX has
    it enabled, else float32. A ridge smaller than those digits resolve counts as the smallest
    that they do. A feature that does not vary has a kernel of 0.

    Args:
        network: the features; its parameters stay as ``init`` draws them.
        ridge: a positive number; ``"gcv"``, by generalised cross-validation from one
            eigendecomposition whenever it is solved, of 1e-7 to 10 times the count; or the numbers
            among which that chooses. Leave-one-out needs the examples again:
            :meth:`ClosedForm.leave_one_out`.
        classes: number of classes; of numbers, how many (1).
        output: the endpoint that is regressed on, ``(batch, ..., features)``; of a ``pyramid`` the
            finest map.
        targets: ``"one-hot"``, 1 for the class and 0 for others; ``"plus-minus"``, 1 and -1; or
            ``"numbers"``.
        target: the batch's array of targets: integer labels, or numbers.
        inputs: the batch's array that the network is given, or several.
        head: name of the endpoint that is predicted. Its values are least-squares estimates of the
            targets: the largest is the class, but they are no logits.
        standardise: whether features are divided by their deviations before they are penalised.
        class_weights: a weight for each class.
        known: which targets are known, as :func:`supervised` takes it.
        draw: whether the features of a step are drawn as in training (dropout, stochastic
            pooling); predictions never are. Each step then draws anew, so order and size of batches
            matter; parts of a batch that see each other (BatchNorm) are to be avoided.
        forget: by how much an example counts less with each later one, in (0, 1]. Below 1 the
            order of examples matters, the size of batches still does not.

    Returns:
        The learner. Its metrics are ``examples``, the sum of the weights so far; ``alive``, the
        share of features that vary; and ``loss``, the mean square of the batch's targets about
        their mean so far: what a constant costs, for a step minimises nothing.

    Raises:
        ValueError: if an option is not as said; when traced, if targets and features do not fit.
        KeyError: when traced, if the network or the batch lacks a name; says which it has.

    A label that is no class, or a feature that is not finite, makes the sums NaN: ``fit`` stops
    there, and ``solve`` refuses them.

    References:
        Hoerl and Kennard (1970), Ridge regression, Technometrics 12; Huang, Zhu and Siew (2006),
        Extreme learning machine: theory and applications, Neurocomputing 70; Liang et al. (2006),
        A fast and accurate online sequential learning algorithm for feedforward networks, IEEE
        Transactions on Neural Networks 17.

    >>> import flax.linen as nn, jaxmed as jm
    >>> network = jm.from_functions(
    ...     lambda key, x: {"w": jax.random.normal(key, (x.shape[-1], 20))},
    ...     lambda params, x: {"features": jnp.tanh(x @ params["w"])},
    ... )
    >>> x = jax.random.normal(jax.random.key(0), (50, 3))
    >>> batch = {"image": x, "label": (x[:, 0] > 0).astype(int)}
    >>> machine = closed_form(network, ridge=0.1, classes=2)
    >>> state = machine.init(jax.random.key(1), batch)
    >>> state, metrics = jax.jit(machine.step)(state, batch)
    >>> found = machine.predict(state, x)["logits"].argmax(-1)
    >>> float(metrics["examples"]), float((found == batch["label"]).mean()) > 0.9
    (50.0, True)
    """
    ridges = _check_ridge(ridge)
    if not 0 < forget <= 1:
        raise ValueError(f"forget must be in (0, 1], got {forget}")
    code = coding(targets, target, classes, class_weights, known)
    whole = with_heads(network, {head: Head(LinearHead(code.outputs), output)})

    def rows(variables: Variables, batch: Batch, key: Key):
        given = network_inputs(batch, inputs)
        endpoints, _ = network.apply(
            variables.params["trunk"], variables.state["trunk"], given,
            key=stream(key, "trunk") if draw else None, train=draw,
        )  # fmt: skip
        features = pick(endpoints, output, "network")
        features = features[0] if isinstance(features, tuple | list) else features
        # Nothing learns by gradients here.
        features = jax.lax.stop_gradient(features)
        return rows_of(features, batch, code, _dtype(), forget)

    @jax.jit
    def init(key: Key, batch: Batch) -> LearnerState:
        params, state = whole.init(stream(key, "network"), network_inputs(batch, inputs))
        variables = Variables(params, state)
        h = jax.eval_shape(rows, variables, batch, key).h
        zeros = jax.tree.map(jnp.zeros_like, params["heads"][head])
        own = {
            "held": jnp.zeros((), bool),
            "ridge": jnp.asarray(ridges[0] if len(ridges) == 1 else _CHOOSE, h.dtype),
        }
        return LearnerState(
            step=jnp.zeros((), jnp.int32),
            params={
                "net": {**params, "heads": {head: zeros}},
                "obj": no_moments(h.shape[-1], code.outputs, h.dtype)._asdict(),
            },
            state={"net": state, "obj": own},
            opt_state={},
            key=stream(key, "run"),
        )

    def step(current: LearnerState, batch: Batch) -> tuple[LearnerState, Metrics]:
        variables = Variables(current.params["net"], current.state["net"])
        h, y, weight = rows(variables, batch, stream(current.key, "step", current.step))
        old = Moments(**current.params["obj"])
        if forget < 1:
            old = fade_moments(old, jnp.asarray(forget, h.dtype) ** _examples(batch, inputs))
        new = merge_moments(old, moments_of(h, y, weight))
        apart = jnp.square(jnp.where(weight[:, None] > 0, y - new.mean_y, 0)).sum(-1)
        total = weight.sum()
        metrics = {
            "loss": (weight * apart).sum() / jnp.where(total > 0, total, 1),
            "examples": new.count,
            "alive": alive(new).mean(dtype=h.dtype),
        }
        state = {**current.state, "obj": {**current.state["obj"], "held": jnp.zeros((), bool)}}
        params = {**current.params, "obj": new._asdict()}
        return current._replace(step=current.step + 1, params=params, state=state), metrics

    def solution(moments: Moments, given: Array) -> Linear:
        """The solution for the ridge in the state, or for the best one."""
        if len(ridges) == 1:
            return solve_ridge(moments, given, standardise=standardise)

        def best():
            found = spectrum(moments, standardise=standardise)
            grid = jnp.asarray(ridges, moments.hh.dtype) if ridges else ridge_grid(moments)
            return solve_spectrum(found, moments, choose_ridge(found, moments, grid))

        def fixed():
            return solve_ridge(moments, given, standardise=standardise)

        return jax.lax.cond(given == _CHOOSE, best, fixed)

    def get(current: LearnerState) -> Variables:
        def one(moments: dict[str, Array], held: dict[str, Array], own: dict[str, Array]):
            def solved():
                found = solution(Moments(**moments), own["ridge"])._asdict()
                return jax.tree.map(lambda new, old: new.astype(old.dtype), found, dict(held))

            return jax.lax.cond(own["held"], lambda: dict(held), solved)

        own = current.state["obj"]
        for _ in range(jnp.ndim(own["held"])):  # the members of an ensemble
            one = jax.vmap(one)
        params = current.params["net"]
        found = one(current.params["obj"], params["heads"][head], own)
        return Variables({**params, "heads": {head: found}}, current.state["net"])

    def put(current: LearnerState, new: Variables) -> LearnerState:
        own = current.state["obj"]
        return current._replace(
            params={**current.params, "net": new.params},
            state={"net": new.state, "obj": {**own, "held": jnp.ones_like(own["held"])}},
        )

    def predict(current: LearnerState, given: PyTree) -> Endpoints:
        return whole.apply(*get(current), given)[0]

    held = jax.jit(lambda current: put(current, get(current)))

    def solve(state: LearnerState) -> LearnerState:
        """The state with its solution."""
        _check_moments(state.params["obj"])
        return held(state)

    @jax.jit
    def without(state, batch, key, found, grid):
        moments = Moments(**state.params["obj"])
        h, y, weight = rows(Variables(state.params["net"], state.state["net"]), batch, key)
        counts = weight > 0
        h, y = jnp.where(counts[:, None], h, 0), jnp.where(counts[:, None], y, 0)
        fit, leverage = leave_one_out_of(found, moments, grid, h, weight)
        left = jnp.maximum(1 - leverage, jnp.finfo(h.dtype).eps)[..., None]
        residual = (y - fit) / left
        wrong = (y - residual).argmax(-1) != y.argmax(-1)
        return (
            (weight * jnp.square(residual).sum(-1)).sum(-1), (weight * wrong).sum(-1), weight.sum()
        )  # fmt: skip

    @jax.jit
    def prepare(state):
        moments = Moments(**state.params["obj"])
        return spectrum(moments, standardise=standardise), ridge_grid(moments)

    def leave_one_out(
        state: LearnerState, batches: Batches, ridges: Sequence[float] | None = None
    ) -> LeaveOneOut:
        """Each example predicted by all others, exactly; the state with the best ridge."""
        if forget < 1:
            raise ValueError("leave-one-out is of examples that count alike: forget must be 1")
        _check_moments(state.params["obj"])
        found, grid = prepare(state)
        if ridges is not None:
            grid = jnp.asarray(_check_ridge(tuple(ridges)), grid.dtype)
        squared, wrong, count = np.zeros(len(grid)), np.zeros(len(grid)), 0.0
        for at in range(len(batches)):
            batch = {k: v for k, v in batches[at].items() if np.asarray(v).dtype.kind in "biuf"}
            parts = without(state, batch, stream(state.key, "step", at), found, grid)
            squared, wrong = squared + np.asarray(parts[0]), wrong + np.asarray(parts[1])
            count += float(parts[2])
        seen = float(state.params["obj"]["count"])
        if abs(count - seen) > 1e-3 * seen:
            raise ValueError(
                f"leave-one-out needs the examples of the sums once each: the batches weigh "
                f"{count:.6g}, the sums {seen:.6g}. Give the batches of one epoch, and one epoch's "
                "sums"
            )
        # Where nothing is left of a residual but rounding, it would be divided by as little.
        sound = np.asarray(grid) >= float(least_ridge(found))
        best = np.where(sound, squared, np.inf).argmin() if sound.any() else np.argmax(grid)
        chosen = float(grid[int(best)])
        own = {
            **state.state["obj"],
            "ridge": jnp.full_like(state.state["obj"]["ridge"], chosen),
            "held": jnp.zeros((), bool),
        }
        state = state._replace(state={**state.state, "obj": own})
        error = None if targets == "numbers" else wrong / count
        return LeaveOneOut(state, chosen, np.asarray(grid), squared / count, error)

    def merge(state: LearnerState, other: LearnerState) -> LearnerState:
        """The state of the examples of both; their features must be the same."""
        trunks = (state.params["net"]["trunk"], other.params["net"]["trunk"])
        pairs = zip(*map(jax.tree.leaves, trunks), strict=True)
        if not all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs):
            raise ValueError(
                "the two states have features of different parameters: begin both with one key"
            )
        both = _merged(Moments(**state.params["obj"]), Moments(**other.params["obj"]))
        own = {**state.state["obj"], "held": jnp.zeros((), bool)}
        return state._replace(
            step=state.step + other.step,
            params={**state.params, "obj": both._asdict()},
            state={**state.state, "obj": own},
        )

    made = Learner(init, step, predict, Predicting(get, put, lambda state: {}))
    return ClosedForm(made, network=whole, solve=solve, leave_one_out=leave_one_out, merge=merge)


_merged = jax.jit(merge_moments)


def _dtype() -> jnp.dtype:
    """The widest float that is enabled."""
    return jnp.dtype(jax.dtypes.canonicalize_dtype(np.float64))


def _examples(batch: Batch, inputs: Inputs) -> Array | int:
    """How many examples of a batch count."""
    if "weight" in batch:
        return (batch["weight"] > 0).sum()
    return jnp.shape(jax.tree.leaves(network_inputs(batch, inputs))[0])[0]


def _check_ridge(ridge: Ridge) -> tuple[float, ...]:
    """The ridges among which to choose: one, several, or none for those that "gcv" looks at."""
    if isinstance(ridge, str):
        if ridge == "gcv":
            return ()
        more = "" if ridge != "loo" else (
            ". Leave-one-out needs the examples again: ridge='gcv', then "
            "closed_form(...).leave_one_out(state, batches)"
        )  # fmt: skip
        raise ValueError(f"ridge must be positive, several numbers or 'gcv', got {ridge!r}{more}")
    several = np.atleast_1d(np.asarray(cast(Any, ridge), float))
    if several.ndim != 1 or not several.size or not (np.isfinite(several) & (several > 0)).all():
        raise ValueError(f"ridge must be positive and finite, got {ridge}")
    return tuple(several.tolist())


@jax.jit
def _sound(moments: Moments) -> tuple[Array, Array]:
    """How many features vary, and whether all is finite."""
    return alive(moments).sum(), jnp.array([jnp.isfinite(x).all() for x in moments]).all()


def _check_moments(own: dict[str, Array]) -> None:
    """Refuse sums from which nothing follows."""
    moments = Moments(**own)
    living, finite = (int(x) for x in _sound(moments))
    count = float(moments.count)
    if not finite:
        raise ValueError(
            "the sums are not finite: a feature or a target was NaN or infinite, or a label no "
            "class. Such examples need a weight of 0, or known="
        )
    if not count > 0:
        raise ValueError("there is nothing to solve: no example has been seen yet")
    if not living:
        raise ValueError(
            f"all {len(moments.mean_h)} features are constant over the {count:g} examples: all "
            "units are dead. Scale the inputs or the first weights"
        )
