"""A network as a NumPyro model: priors by path, any likelihood."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._posterior import arrays_of
from jaxmed.core import Array, Batch, Network, PyTree, flatten_paths

Prior = Any
"""A precision, a NumPyro distribution, a dict from path patterns to these, or a function."""


def priors_of(prior: Prior, params: PyTree) -> dict[str, Any]:
    """Return the prior of each leaf, by path, expanded to its shape.

    Args:
        prior: a number, the precision of independent zero-mean normals; a NumPyro distribution; a
            dict from regular expressions to either, of which the first found in a leaf's path
            applies; or a function ``(path, leaf) -> distribution``.
        params: parameters of the network.

    Returns:
        A dict from path to a NumPyro distribution of the leaf's shape.

    Raises:
        ValueError: for a precision that is not positive, a leaf that no pattern matches, or a
            distribution that does not broadcast to a leaf.

    >>> list(priors_of(4.0, {"w": jnp.ones(2)}))
    ['w']
    """
    from numpyro import distributions

    def one(given: Any, path: str, leaf: Any) -> Any:
        if isinstance(given, Mapping):
            found = next((v for k, v in given.items() if re.search(k, path)), None)
            if found is None:
                raise ValueError(f"no pattern of the prior, {list(given)}, matches {path!r}")
            return one(found, path, leaf)
        if isinstance(given, distributions.Distribution):
            if given.event_shape:
                return given
            shape, own = np.shape(leaf), given.batch_shape
            try:
                fits = np.broadcast_shapes(own, shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(f"the prior of {path!r} has the shape {own}, the leaf {shape}")
            return given.expand(shape).to_event(len(shape))
        if callable(given):
            return one(given(path, leaf), path, leaf)
        if not float(given) > 0:
            raise ValueError(f"a prior precision must be positive, got {given!r} for {path!r}")
        dtype = jnp.result_type(leaf)
        sd = jnp.asarray(float(given) ** -0.5, dtype)
        return (
            distributions.Normal(jnp.zeros((), dtype), sd)
            .expand(np.shape(leaf))
            .to_event(np.ndim(leaf))
        )

    return {path: one(prior, path, leaf) for path, leaf in flatten_paths(params).items()}


def log_prior(priors: Mapping[str, Any], params: PyTree) -> Array:
    """Compute the log density of parameters under the result of :func:`priors_of`."""
    leaves = flatten_paths(params)
    return jnp.asarray(sum(law.log_prob(leaves[path]).sum() for path, law in priors.items()))


def place(template: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """Return ``template`` with the leaves of some paths replaced."""

    def one(path, leaf):
        return leaves.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf)

    return jax.tree.map_with_path(one, template)


def select(params: PyTree, subset: str | None) -> dict[str, Any]:
    """Select the leaves whose path matches a pattern, by path; all for ``None``.

    Raises:
        ValueError: if there are none.
    """
    leaves = flatten_paths(params)
    found = {p: x for p, x in leaves.items() if subset is None or re.search(subset, p)}
    if not found:
        raise ValueError(f"no parameter matches {subset!r}; there are {list(leaves)}")
    return found


def last_layer(network: Network, params: PyTree, state: PyTree, inputs: Any) -> str:
    """Find the last layer: return a pattern for the parameters in which the logits are linear.

    The parameters of each layer are moved far along a random direction; only in the last layer,
    which no nonlinearity follows, do the logits change by equal steps.

    Args:
        network: any network with an endpoint ``logits``.
        params: parameters of the network.
        state: state of the network.
        inputs: a few inputs, an array or a dict of several.

    Returns:
        A regular expression for ``subset=``.

    Raises:
        ValueError: if the logits are linear in no layer or in several; pass ``subset`` explicitly.
    """
    leaves = flatten_paths(params)
    groups = sorted({path.rpartition("/")[0] for path in leaves})
    x = arrays_of(inputs, lambda leaf: jnp.asarray(leaf)[:2])

    @jax.jit
    def logits(leaves):
        return network.apply(place(params, leaves), state, x)[0]["logits"]

    rng = np.random.default_rng(0)
    found = []
    for group in groups:
        own = [path for path in leaves if path.rpartition("/")[0] == group]
        step = {p: 3 * rng.normal(size=np.shape(leaves[p])).astype(np.float32) for p in own}
        at = [
            np.asarray(logits({**leaves, **{p: leaves[p] + t * step[p] for p in own}}), float)
            for t in (0.0, 1.0, 2.0)
        ]
        moved = np.abs(at[2] - at[0]).max()
        if moved > 1e-6 and np.abs(at[2] - 2 * at[1] + at[0]).max() < 1e-3 * moved:
            found.append(group)
    if len(found) != 1:
        raise ValueError(
            f"the last layer is not clear: the logits are linear in {found or 'no layer'}; name it "
            f"by a pattern, of {groups}"
        )
    return f"^{re.escape(found[0])}/[^/]+$" if found[0] else "^[^/]+$"


def network_model(
    network: Network,
    params: PyTree,
    state: PyTree,
    likelihood: Likelihood,
    *,
    prior: Prior = 1.0,
    subset: str | None = None,
) -> Callable[..., None]:
    """Turn a network into a NumPyro model with random parameters.

    The equivalent of ``numpyro.contrib.module.random_flax_module`` for any
    :class:`~jaxmed.core.Network`. Sites are named by path (``head/linear/kernel``), so guides,
    reparameterisations and handlers can refer to them; the network is evaluated without dropout
    and with fixed state.

    Args:
        network: any network.
        params: parameters, giving the structure and the values of those not in ``subset``.
        state: state of the network.
        likelihood: :func:`categorical`, :func:`bernoulli` or :func:`normal`.
        prior: prior, see :func:`priors_of`.
        subset: a regular expression for the random paths; all by default.

    Returns:
        ``model(batch, total=None)``. If ``batch`` is a subset of the data, ``total`` is the total
        number of examples, to which its likelihood is scaled. Targets are observed if the batch has
        them, and drawn (site ``target``) otherwise.

    >>> from jaxmed.core import from_linen
    >>> import flax.linen as nn
    >>> from numpyro import handlers
    >>> from jaxmed.bayes import categorical
    >>> net, x = from_linen(nn.Dense(2)), jnp.ones((3, 4))
    >>> model = network_model(net, *net.init(jax.random.key(0), x), categorical())
    >>> trace = handlers.trace(handlers.seed(model, 0)).get_trace({"image": x})
    >>> sorted(trace)
    ['bias', 'kernel', 'target']
    """
    import numpyro
    from numpyro import handlers

    random = priors_of(prior, select(params, subset))

    def model(batch: Batch, total: int | None = None) -> None:
        leaves = {path: numpyro.sample(path, law) for path, law in random.items()}
        outputs = likelihood.outputs_of(network, place(params, leaves), state, batch)
        law = likelihood.distribution(outputs)
        if law.batch_shape:
            law = law.to_event(len(law.batch_shape) - 1)
        targets = batch.get(likelihood.target)
        if targets is not None:
            targets = likelihood.aligned(jnp.asarray(targets), outputs)
        weight = batch.get("weight")
        if weight is None:
            weight = jnp.ones(outputs.shape[0])
        counts = weight > 0  # padding rows do not
        scale = 1.0 if total is None else total / jnp.maximum(counts.sum(), 1)
        with handlers.scale(scale=scale), handlers.mask(mask=counts):
            numpyro.sample("target", law, obs=targets)

    return model
