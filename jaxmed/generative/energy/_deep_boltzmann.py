"""Deep Boltzmann machines: layers of binary units, each joined to the next, without directions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import entr

from jaxmed.core import Array, Network, from_functions, stream
from jaxmed.core._made import made_by
from jaxmed.generative.energy._rbm import flat, whole


def deep_boltzmann(hidden: Sequence[int], *, mean_field: int = 10) -> Network:
    r"""A deep Boltzmann machine of binary pixels and layers of binary units.

    .. math:: E(x_0, \dots, x_L) = -\sum_l b_l^\top x_l - \sum_l x_l^\top W_l\, x_{l+1}

    with the pixels :math:`x_0`. What its hidden units are like given an image is approximated by
    independent probabilities :math:`\mu` (mean field): they begin at a pass upwards with doubled
    weights, and odd and even layers are solved for in turn, of which each raises the bound

    .. math:: \log p(x_0) \ge -\mathbb{E}_\mu[E] + \mathcal{H}(\mu) - \log Z

    Its parameters are ``kernels`` and ``biases``, by layer from ``"0"``. Train it by
    :func:`~jaxmed.generative.stochastic_approximation`; tune it by plain
    :func:`~jaxmed.supervised` under a head, through its mean field.

    Args:
        hidden: number of units of each hidden layer, lowest first.
        mean_field: how often all hidden layers are solved for.

    Returns:
        The network, from images ``(batch, ...)`` in [0, 1] to ``features``, the probabilities
        :math:`\mu` of all layers side by side, ``layers``, a tuple of each, and
        ``free_energy_bound`` (batch,), at least the free energy; for one hidden layer it is equal
        to an :func:`~jaxmed.generative.rbm`'s.

    Raises:
        ValueError: for no layer, one without units, or no mean-field step; when traced, if images
            have another number of pixels than those it was initialised with.

    References:
        Salakhutdinov and Hinton (2009), Deep Boltzmann machines, AISTATS.

    >>> network = deep_boltzmann((6, 4))
    >>> params, state = network.init(jax.random.key(0), jnp.ones((2, 3, 3, 1)))
    >>> network.apply(params, state, jnp.ones((2, 3, 3, 1)))[0]["features"].shape
    (2, 10)
    """
    hidden = tuple(hidden)
    if not hidden or not whole(*hidden):
        raise ValueError(f"a deep machine has layers of at least one unit, got {hidden}")
    if not whole(mean_field):
        raise ValueError(f"mean field takes at least one step, got {mean_field}")

    def init(key, inputs):
        sizes = (math.prod(jnp.shape(inputs)[1:]), *hidden)
        return {
            "kernels": {
                str(i): 0.01 * jax.random.normal(stream(key, "kernel", i), pair)
                for i, pair in enumerate(itertools.pairwise(sizes))
            },
            "biases": {str(i): jnp.zeros(size) for i, size in enumerate(sizes)},
        }

    def apply(params, inputs):
        rows = flat(inputs)
        layers = mean_field_of(params, rows, mean_field)
        entropy = sum((entr(mu) + entr(1 - mu)).sum(-1) for mu in layers)
        return {
            "features": jnp.concatenate(layers, axis=-1),
            "layers": tuple(layers),
            "free_energy_bound": energy(params, [rows, *layers]) - entropy,
        }

    return made_by(
        from_functions(init, apply), "deep_boltzmann", hidden=hidden, mean_field=mean_field
    )


def energy(params: Mapping[str, Any], layers: Sequence[Array]) -> Array:
    """The energy of states of all layers, (n,): of probabilities, its mean under them."""
    total: Any = 0.0
    for i, x in enumerate(layers):
        total -= x @ params["biases"][str(i)]
    for i, (x, y) in enumerate(itertools.pairwise(layers)):
        total -= ((x @ params["kernels"][str(i)]) * y).sum(-1)
    return total


def mean_field_of(params: Mapping[str, Any], rows: Array, steps: int) -> list[Array]:
    """The probabilities of the units of each hidden layer given the pixels."""
    kernels, biases = params["kernels"], params["biases"]
    top = len(kernels)
    if rows.shape[-1] != biases["0"].size:
        raise ValueError(f"the machine has {biases['0'].size} pixels, not {rows.shape[-1]}")

    def solved(layers, i):
        field = biases[str(i)] + layers[i - 1] @ kernels[str(i - 1)]
        if i < top:
            field = field + layers[i + 1] @ kernels[str(i)].T
        return jax.nn.sigmoid(field)

    layers = [rows]
    for i in range(1, top + 1):
        # What a layer lacks from above is made up for by twice what comes from below.
        double = 2.0 if i < top else 1.0
        layers.append(jax.nn.sigmoid(biases[str(i)] + double * layers[-1] @ kernels[str(i - 1)]))
    if top == 1:
        return layers[1:]

    def step(hidden, _):
        layers = [rows, *hidden]
        for first in (1, 2):  # Layers of one parity do not see each other: solved together.
            for i in range(first, top + 1, 2):
                layers[i] = solved(layers, i)
        return layers[1:], None

    return jax.lax.scan(step, layers[1:], None, length=steps)[0]


def as_rbm(params: Mapping[str, Any]) -> dict[str, Array]:
    """The same machine as a restricted one: even layers, pixels first, against odd ones.

    Units of layers of one parity are not joined, so that any deep machine is an
    :func:`~jaxmed.generative.rbm` whose kernel has blocks of zeros:
    :func:`~jaxmed.generative.gibbs` and :func:`~jaxmed.generative.log_partition` hold for it.

    Args:
        params: of a :func:`deep_boltzmann`.

    Returns:
        The parameters of the RBM. Its first "pixels" are the pixels.

    Raises:
        ValueError: for other parameters.
    """
    if not isinstance(params, Mapping) or set(params) != {"kernels", "biases"}:
        found = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(f"a deep machine's parameters are 'kernels' and 'biases', got {found}")
    kernels, biases = params["kernels"], params["biases"]
    even, odd = range(0, len(biases), 2), range(1, len(biases), 2)

    def block(i, j):
        if j == i + 1:
            return kernels[str(i)]
        if j == i - 1:
            return kernels[str(j)].T
        return jnp.zeros((biases[str(i)].size, biases[str(j)].size))

    return {
        "kernel": jnp.block([[block(i, j) for j in odd] for i in even]),
        "visible_bias": jnp.concatenate([biases[str(i)] for i in even]),
        "hidden_bias": jnp.concatenate([biases[str(i)] for i in odd]),
    }
