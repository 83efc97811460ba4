"""Generalised Gauss-Newton curvature of a network's likelihood: full, Kronecker, diagonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.bayes.posteriors._block import Block
from jaxmed.bayes.posteriors._likelihood import Likelihood
from jaxmed.bayes.posteriors._model import place
from jaxmed.core import Array, Batch, Network, PyTree

_MOST = 500_000_000  # Maximum number of matrix entries: 2 GB.
_PROBES = 8  # Random mixtures of a map's rows per example.


def curvature(
    network: Network,
    params: PyTree,
    state: PyTree,
    batches: Iterable[Batch],
    likelihood: Likelihood,
    leaves: Mapping[str, Any],
    structure: str,
) -> tuple[list[Block], float, int]:
    """Compute curvature blocks, log likelihood and number of examples, summed over batches."""
    parts = real_rows(batches, likelihood)
    examples = sum(len(part[likelihood.target]) for part in parts)
    total = jax.jit(lambda params, batch: likelihood.total(network, params, state, batch))
    log_likelihood = sum(float(total(params, part)) for part in parts)
    if not math.isfinite(log_likelihood):
        raise ValueError(f"the log likelihood at the parameters given is {log_likelihood}")
    example = jax.tree.map(lambda x: x[0], likelihood.inputs_of(parts[0]))
    if structure == "full":
        rows = example_rows(network, params, state, likelihood)
        one = jax.eval_shape(lambda x: _flat(rows(leaves, x, jax.random.key(0))), example)
        count, size = examples * one.shape[0], one.shape[1]
        if min(count, size) * size > _MOST:
            raise ValueError(
                f"a full matrix of {size} parameters and {examples} examples is too large: use "
                "kron or diag, or a subset of the parameters"
            )
        if count < size:
            block = _thin(rows, leaves, [likelihood.inputs_of(part) for part in parts])
            return [block], log_likelihood, examples
    accumulate, blocks = STRUCTURES[structure](network, params, state, likelihood, leaves, example)
    accumulate, sums = jax.jit(accumulate), None
    for part in parts:
        found = accumulate(leaves, part)
        sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
    return blocks(sums, examples), log_likelihood, examples


def real_rows(batches: Iterable[Batch], likelihood: Likelihood) -> list[dict[str, Array]]:
    """Yield batches without their padding rows; a batch may consist of padding only.

    Raises:
        ValueError: if no example is left.
    """
    found = []
    for batch in batches:
        examples = likelihood.examples(batch)
        if len(examples[likelihood.target]):
            found.append(jax.tree.map(jnp.asarray, examples))
    if not found:
        raise ValueError("there are no examples: no batches, or only padding rows")
    return found


def example_rows(
    network: Network, params: PyTree, state: PyTree, likelihood: Likelihood
) -> Callable:
    """Return ``(leaves, input, key) -> S^T J`` for one example: stacked gradient trees.

    For a map with many voxels, random signs mix the rows into a few whose outer products have the
    same expectation.
    """

    def rows(leaves, x, key):
        def outputs_of(leaves):
            endpoints = network.apply(place(params, leaves), state, _one(x))[0]
            return endpoints[likelihood.output][0]

        outputs, pull = jax.vjp(outputs_of, leaves)
        s = likelihood.factor(outputs)
        s = jnp.moveaxis(s.reshape(-1, *s.shape[-2:]), -1, 1)  # (positions, k, classes)
        positions, k, _ = s.shape
        if positions == 1:
            cotangents = s[0][:, None]
        else:
            signs = jax.random.rademacher(key, (_PROBES, positions, k), s.dtype)
            cotangents = jnp.einsum("mpk,pkc->mpc", signs, s) / math.sqrt(_PROBES)
        return jax.vmap(lambda c: pull(c.reshape(outputs.shape))[0])(cotangents)

    return rows


def _one(example: PyTree) -> PyTree:
    """An example as a batch of one."""
    return jax.tree.map(lambda leaf: leaf[None], example)


def _rows(inputs: PyTree) -> int:
    return len(jax.tree.leaves(inputs)[0])


def _flat(tree: Mapping[str, Array]) -> Array:
    """Flatten stacked trees to a matrix, the leaves in order of their names."""
    parts = [leaf.reshape(leaf.shape[0], -1) for _, leaf in sorted(tree.items())]
    return jnp.concatenate(parts, axis=-1)


def _summed(one: Callable, inputs: PyTree) -> Any:
    """Sum ``one`` over examples, one at a time, so that memory holds one example's gradients."""
    keys = jax.random.split(jax.random.key(0), _rows(inputs))
    shape = jax.eval_shape(one, jax.tree.map(lambda x: x[0], inputs), keys[0])
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    def add(total, example):
        return jax.tree.map(jnp.add, total, one(*example)), None

    return jax.lax.scan(add, zero, (inputs, keys))[0]


def _full(network, params, state, likelihood, leaves, example):
    del example
    rows = example_rows(network, params, state, likelihood)
    names = tuple(sorted(leaves))

    def accumulate(leaves, batch):
        def one(x, key):
            r = _flat(rows(leaves, x, key))
            return r.T @ r

        return _summed(one, likelihood.inputs_of(batch))

    def blocks(sums, examples):
        del examples
        values, basis = jnp.linalg.eigh(sums)
        return [Block(jnp.maximum(values, 0), (basis,), names)]

    return accumulate, blocks


def _thin(rows: Callable, leaves: Mapping[str, Any], inputs: list[PyTree]) -> Block:
    """Represent ``R^T R`` by the rows of ``R`` if these are fewer than the parameters.

    With ``R = U S V^T``, the block holds ``U^T R``, which avoids division by small eigenvalues.
    """

    @jax.jit
    def found(leaves, x):
        keys = jax.random.split(jax.random.key(0), _rows(x))
        return jax.lax.map(lambda one: _flat(rows(leaves, *one)), (x, keys))

    every = jnp.concatenate(
        [r.reshape(-1, r.shape[-1]) for r in (found(leaves, x) for x in inputs)]
    )
    # In float64: the relevant eigenvalues, those near the prior precision, may be a millionth of
    # the largest.
    gram = np.zeros((len(every), len(every)))
    for start in range(0, every.shape[1], 8192):
        part = np.asarray(every[:, start : start + 8192], np.float64)
        gram += part @ part.T
    values, u = np.linalg.eigh(gram)
    kept = values > 1e-10 * values[-1]
    own = jnp.asarray(u[:, kept].T, every.dtype) @ every
    return Block(jnp.asarray(values[kept], every.dtype), (own,), tuple(sorted(leaves)))


def _diagonal(network, params, state, likelihood, leaves, example):
    del example
    rows = example_rows(network, params, state, likelihood)

    def accumulate(leaves, batch):
        def one(x, key):
            return {p: (g**2).sum(axis=0) for p, g in rows(leaves, x, key).items()}

        return _summed(one, likelihood.inputs_of(batch))

    def blocks(sums, examples):
        del examples
        return [Block(sums[p].reshape(-1), (), (p,)) for p in sorted(leaves)]

    return accumulate, blocks


def _kronecker(network, params, state, likelihood, leaves, example):
    """Use K-FAC for dense layers, and second moments of per-example gradients for other kernels."""
    rows = example_rows(network, params, state, likelihood)
    kernels = {p for p, leaf in leaves.items() if np.ndim(leaf) >= 2}
    seen = jax.eval_shape(
        lambda v, x: _dense_inputs(network, place(params, v), state, x), leaves, example
    )
    dense = {
        path
        for path in kernels
        if getattr(seen.get(path.rpartition("/")[0]), "shape", None) == leaves[path].shape[:-1]
    }

    def accumulate(leaves, batch):
        def one(x, key):
            seen = _dense_inputs(network, place(params, leaves), state, x)
            found = {}
            for path, g in rows(leaves, x, key).items():
                if path not in kernels:
                    v = g.reshape(g.shape[0], -1)
                    found[path] = (v.T @ v,)
                    continue
                m = g.reshape(g.shape[0], -1, g.shape[-1])
                if path in dense:
                    # m is the outer product of the layer's input and the gradient of its output.
                    a = seen[path.rpartition("/")[0]]
                    norm = jnp.maximum((a**2).sum(), 1e-30)
                    delta = jnp.einsum("i,kij->kj", a, m) / norm
                    found[path] = (jnp.outer(a, a), delta.T @ delta)
                else:
                    found[path] = (jnp.einsum("kij,klj->il", m, m), jnp.einsum("kij,kil->jl", m, m))
            return found

        return _summed(one, likelihood.inputs_of(batch))

    def blocks(sums, examples):
        found = []
        for path in sorted(leaves):
            factors = sums[path]
            if len(factors) == 1:
                values, basis = jnp.linalg.eigh(factors[0])
                found.append(Block(jnp.maximum(values, 0), (basis,), (path,)))
                continue
            a, b = factors
            scale = examples if path in dense else jnp.maximum(jnp.trace(a), 1e-30)
            (la, ua), (lb, ub) = jnp.linalg.eigh(a / scale), jnp.linalg.eigh(b)
            values = jnp.maximum(la, 0)[:, None] * jnp.maximum(lb, 0)[None]
            found.append(Block(values.reshape(-1), (ua, ub), (path,)))
        return found

    return accumulate, blocks


def _dense_inputs(network: Network, params: PyTree, state: PyTree, x: PyTree) -> dict[str, Array]:
    """Record the input of each Linen Dense layer that is applied once, to one row."""
    seen: dict[str, Array] = {}
    twice: set[str] = set()

    def look(call, args, kwargs, context):
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            path = "/".join(context.module.path)
            if path in seen or args[0].size != args[0].shape[-1]:
                twice.add(path)
            seen[path] = args[0].reshape(-1)
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        network.apply(params, state, _one(x))
    return {path: a for path, a in seen.items() if path not in twice}


STRUCTURES = {"full": _full, "diag": _diagonal, "kron": _kronecker}
