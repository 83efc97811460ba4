"""BatchEnsemble: ensembles with shared weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.bayes.posteriors._posterior import Posterior, make_posterior
from jaxmed.core import Key, Network, PyTree, stream, unflatten_paths


def batch_ensemble(network: Network, n: int) -> Network:
    r"""Turn a network into ``n`` members that share each kernel up to a rank-one factor.

    .. math:: W_i = W \circ (s_i r_i^T)

    Works for any network: kernels (leaves of rank 2 or more) are shared, with one sign vector over
    inputs and one over outputs per member; biases, scales and running statistics are per member.
    In training the batch is distributed over the members in turn, so an ordinary learner trains
    them; in evaluation each endpoint is the mean over members.

    Args:
        network: any network.
        n: number of members; must divide the batch in training.

    Returns:
        The network. Pass its parameters to :func:`batch_ensemble_posterior`.

    Raises:
        ValueError: if ``n`` is below 1, or does not divide a training batch (when traced).

    References:
        Wen, Tran, Ba (2020), BatchEnsemble, ICLR.
    """
    if n < 1:
        raise ValueError(f"an ensemble needs at least one member, got n={n}")

    def init(key: Key, inputs: PyTree):
        params, state = network.init(key, inputs)
        own: dict = {"shared": {}, "own": {}, "inputs": {}, "outputs": {}}
        flat, _ = jax.tree.flatten_with_path(params)
        for path, leaf in flat:
            name = _name(path)
            if np.ndim(leaf) < 2:
                own["own"][name] = jnp.stack([leaf] * n)
                continue
            own["shared"][name] = leaf
            for part, size in (("inputs", leaf.shape[-2]), ("outputs", leaf.shape[-1])):
                signs = jax.random.rademacher(stream(key, part, name), (n, size), leaf.dtype)
                own[part][name] = signs
        return own, jax.tree.map(lambda x: jnp.stack([x] * n), state)

    def apply(params, state, inputs, *, key=None, train=False):
        if train:
            size = jax.tree.leaves(inputs)[0].shape[0]
            if size % n:
                raise ValueError(f"a batch of {size} cannot be dealt out to {n} members")
            # Row b goes to member b mod n, and is returned to its place.
            dealt = jax.tree.map(lambda x: x.reshape(-1, n, *x.shape[1:]).swapaxes(0, 1), inputs)
        found, states = [], []
        for i in range(n):
            own = jax.tree.map(lambda x, i=i: x[i], state)
            x = jax.tree.map(lambda x, i=i: x[i], dealt) if train else inputs
            k = None if key is None else stream(key, "member", i)
            endpoints, new = network.apply(_member(params, i), own, x, key=k, train=train)
            found.append(endpoints)
            states.append(new)
        if train:
            # Restore the original order.
            endpoints = jax.tree.map(_dealt_back, *found)
            return endpoints, jax.tree.map(lambda *x: jnp.stack(x), *states)
        return jax.tree.map(lambda *x: jnp.mean(jnp.stack(x), axis=0), *found), state

    return Network(init, apply)


def batch_ensemble_posterior(network: Network, params: PyTree, state: PyTree) -> Posterior:
    """Return the posterior whose samples are the members of a :func:`batch_ensemble`.

    Args:
        network: the network that was turned into a batch ensemble, not the ensemble itself.
        params: the ensemble's parameters.
        state: the ensemble's state.

    Returns:
        A posterior of ``n`` samples, each a full set of the network's parameters.
    """
    n = int(jax.tree.leaves((params["inputs"], params["own"]))[0].shape[0])

    def draw(content, key, i):
        del key
        params, state = content
        return _member(params, i), jax.tree.map(lambda x: x[i], state)

    return make_posterior(network, (params, state), draw, size=n)


def _member(params, i):
    leaves = {name: own[i] for name, own in params["own"].items()}
    for name, kernel in params["shared"].items():
        outer = params["inputs"][name][i][:, None] * params["outputs"][name][i][None]
        leaves[name] = kernel * outer
    return unflatten_paths(leaves)


def _dealt_back(*parts):
    return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
