"""Posterior over a network's parameters: the interface and its basic constructors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Endpoints, Key, Network, PyTree, stream

Draw = Callable[[PyTree, Key, Array], tuple[PyTree, PyTree]]
"""``(content, key, i) -> (params, state)`` of the i-th sample."""


class Posterior(NamedTuple):
    """A posterior over a network's parameters: two functions.

    Attributes:
        sample: ``(key, n=None) -> params``, each leaf with a leading axis of ``n`` samples.
        predictive: ``(key, inputs, n=None, *, outputs=("logits",), chunk=None) -> endpoints``,
            those named, each with a leading axis of samples. One compiled program; ``chunk``
            samples are computed at a time, so only the result grows with ``n`` in memory.
        draw_once: whether a draw costs more than predictions with it. ``predictive`` then also
            takes ``size``, the number of inputs computed at a time with the same draws.

    The same key gives both functions the same parameters, so that predictions on two images (both
    phases of a heart) come from the same draws. ``n=None`` is the posterior's default: all members
    of an ensemble, 30 draws otherwise.

    Every method of this subpackage returns the two functions first, some followed by diagnostics;
    functions that take a posterior accept any tuple or object with these two names. Draws are
    assumed to be cheap if it has no ``draw_once``.
    """

    sample: Callable[..., PyTree]
    predictive: Callable[..., Endpoints]
    draw_once: bool = False


def make_posterior(
    network: Network,
    content: PyTree,
    draw: Draw,
    *,
    size: int | None = None,
    default: int = 30,
    predict: Callable[..., Endpoints] | None = None,
    draw_once: bool = False,
) -> Posterior:
    """Create a posterior from a function that draws one sample.

    Args:
        network: the network whose parameters are sampled.
        content: arrays needed for drawing (means, factors, members), stored once on the device.
        draw: ``(content, key, i) -> (params, state)``, the i-th sample of the network's parameters
            and its state. Traced.
        size: number of samples of a finite set; ``None`` for a distribution.
        default: default number of samples of a distribution.
        predict: ``(content, (params, state), inputs, key) -> endpoints``, if a sample's prediction
            is not that of the network in evaluation mode (dropout, a linearised network).
        draw_once: for draws that cost more than predictions (recomputed statistics); see
            :class:`Posterior`. Otherwise drawing per batch is faster, since computations that do
            not depend on the draw are shared.

    Returns:
        The posterior. From a finite set, ``n`` below its size draws without replacement, ``n``
        above with replacement.

    Raises:
        ValueError: if ``size`` or ``default`` is below 1.

    >>> from jaxmed.core import from_functions
    >>> net = from_functions(lambda key, x: {}, lambda params, x: params["w"] * x)
    >>> members = {"w": jnp.array([1.0, 2.0])}
    >>> two = make_posterior(net, members, lambda all, key, i: ({"w": all["w"][i]}, {}), size=2)
    >>> two.predictive(jax.random.key(0), jnp.ones(1))["logits"].tolist()
    [[1.0], [2.0]]
    """
    if (size is not None and size < 1) or default < 1:
        raise ValueError(f"a posterior has at least one sample, not size={size}, {default=}")

    def network_predict(content, drawn, inputs, key):
        del content, key
        params, state = drawn
        return network.apply(params, state, inputs)[0]

    predict = network_predict if predict is None else predict

    def chosen(key: Key, n: int | None) -> Array:
        n = (default if size is None else size) if n is None else int(n)
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if size is None or n == size:
            return jnp.arange(n)
        own = stream(key, "members")
        if n < size:
            return jax.random.permutation(own, size)[:n]
        return jax.random.randint(own, (n,), 0, size)

    @jax.jit
    def drawn(content, key, indices):
        return jax.lax.map(lambda i: draw(content, stream(key, "sample", i), i)[0], indices)

    @partial(jax.jit, static_argnames=("outputs", "chunk", "size"))
    def predicted(content, key, inputs, indices, outputs, chunk, size):
        def one(i):
            own = stream(key, "sample", i)
            drawn = draw(content, own, i)

            def named(inputs):
                endpoints = predict(content, drawn, inputs, stream(own, "predict"))
                missing = [name for name in outputs if name not in endpoints]
                if missing:
                    raise KeyError(
                        f"the network has no endpoint {missing[0]!r}; it has {sorted(endpoints)}"
                    )
                return {name: endpoints[name] for name in outputs}

            return named(inputs) if size is None else _by_parts(named, inputs, size)

        return jax.lax.map(one, indices, batch_size=chunk)

    def sample(key: Key, n: int | None = None) -> PyTree:
        return drawn(content, key, chosen(key, n))

    def predictive(
        key: Key,
        inputs: PyTree,
        n: int | None = None,
        *,
        outputs: Sequence[str] = ("logits",),
        chunk: int | None = None,
        size: int | None = None,
    ) -> Endpoints:
        if chunk is None:
            # Batched weights make grouped convolutions: slow on a CPU.
            chunk = 1 if jax.default_backend() == "cpu" else 8
        outputs = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        indices = chosen(key, n)
        return predicted(content, key, inputs, indices, outputs, min(chunk, len(indices)), size)

    return Posterior(sample, predictive, draw_once)


def _by_parts(function: Callable[[PyTree], PyTree], inputs: PyTree, size: int) -> PyTree:
    """Apply a function to a batch `size` rows at a time, padding the end with the first row."""
    rows = jax.tree.leaves(inputs)[0].shape[0]
    parts = -(-rows // size)

    def cut(leaf):
        fill = jnp.broadcast_to(leaf[:1], (parts * size - rows, *leaf.shape[1:]))
        return jnp.concatenate([leaf, fill]).reshape(parts, size, *leaf.shape[1:])

    found = jax.lax.map(function, jax.tree.map(cut, inputs))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:rows], found)


def point(network: Network, params: PyTree, state: PyTree) -> Posterior:
    """Return the point posterior at the trained parameters (MAP).

    Args:
        network: any network.
        params: parameters of the network.
        state: state of the network.

    Returns:
        A posterior of one sample.
    """
    stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], (params, state))
    return members(network, *stacked)


def members(network: Network, params: PyTree, state: PyTree) -> Posterior:
    """Return the posterior of a finite set of parameters: an ensemble, snapshots, a chain's draws.

    Args:
        network: any network.
        params: each leaf with a leading axis of members. For an ensemble trained by
            :func:`jaxmed.ensemble` these are ``learner_state.params["net"]``.
        state: likewise, ``learner_state.state["net"]``.

    Returns:
        A posterior of that many samples.

    Raises:
        ValueError: if leaves disagree on the number of members.
    """
    leaves = jax.tree.leaves((params, state))
    sizes = {np.shape(leaf)[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(f"each leaf needs one leading axis of members, got {sorted(sizes)}")
    content = jax.tree.map(jnp.asarray, (params, state))

    def draw(content, key, i):
        del key
        return jax.tree.map(lambda leaf: leaf[i], content)

    return make_posterior(network, content, draw, size=int(next(iter(sizes))[0]))


def arrays_of(inputs: Any, convert: Callable[[Any], Any]) -> PyTree:
    """Inputs as arrays: a dict of several, or one, for which nested lists will do."""
    if isinstance(inputs, Mapping):
        return {name: arrays_of(value, convert) for name, value in inputs.items()}
    return convert(inputs)


def predict_samples(
    posterior: Any,
    key: Key,
    inputs: Any,
    n: int | None = None,
    *,
    output: str = "logits",
    size: int = 64,
    chunk: int | None = None,
) -> np.ndarray:
    """Predict samples for many inputs, in batches, on the host.

    The last batch is padded, so that one program is compiled; all batches use the same draws,
    recomputed for each unless the posterior has ``draw_once``.

    Args:
        posterior: any posterior.
        key: random key of the draws.
        inputs: array ``(cases, ...)``, or a dict of several.
        n: number of samples.
        output: name of the endpoint.
        size: number of cases per batch.
        chunk: number of samples computed at a time.

    Returns:
        ``(samples, cases, ...)``.

    Raises:
        ValueError: for no cases, or a prediction that is not finite.
    """
    x = arrays_of(inputs, np.asarray)
    lengths = {len(leaf) for leaf in jax.tree.leaves(x)}
    if len(lengths) > 1:
        raise ValueError(f"inputs of one case stand in one row, but there are {sorted(lengths)}")
    total = lengths.pop() if lengths else 0
    if not total:
        raise ValueError("there are no inputs to predict")
    size = min(size, total)
    options: dict[str, Any] = {} if chunk is None else {"chunk": chunk}
    batch = size
    if getattr(posterior, "draw_once", False):
        options, batch = {**options, "size": size}, total
    parts = []
    for start in range(0, total, batch):
        rows = np.arange(start, start + batch)
        rows = np.where(rows < total, rows, start)  # The last batch is filled with its first row.
        filled = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), x)
        found = posterior.predictive(key, filled, n, outputs=(output,), **options)
        parts.append(np.asarray(found[output])[:, : total - start])
    whole = np.concatenate(parts, axis=1)
    if not np.isfinite(whole).all():
        bad = np.flatnonzero(~np.isfinite(whole.reshape(len(whole), -1)).all(axis=1))
        raise ValueError(f"samples {bad[:5].tolist()} predict NaN or infinities: they diverged")
    return whole


def softmax_samples(logits: Any) -> np.ndarray:
    """Compute class probabilities of sampled logits, in float64 on the host.

    Args:
        logits: ``(samples, ..., classes)``; a single logit of the positive class gives two classes.

    Returns:
        ``(samples, ..., classes)``, for :func:`decompose`, calibration and conformal sets.

    >>> softmax_samples([[[0.0]]]).tolist()
    [[[0.5, 0.5]]]
    """
    from scipy import special

    z = np.asarray(logits, dtype=np.float64)
    if z.shape[-1] == 1:
        z = np.concatenate([np.zeros_like(z), z], axis=-1)
    return special.softmax(z, axis=-1)
