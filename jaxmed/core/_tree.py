"""Tools on trees of parameters, by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core._types import PyTree


def flatten_paths(tree: PyTree) -> dict[str, Any]:
    """The leaves of a nested dict by path, parts joined with ``/``.

    >>> flatten_paths({"conv": {"kernel": 1, "bias": 2}})
    {'conv/bias': 2, 'conv/kernel': 1}
    """
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {_name(path): leaf for path, leaf in leaves}


def unflatten_paths(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dict of leaves by path: what :func:`flatten_paths` undoes.

    >>> unflatten_paths({"conv/kernel": 1, "conv/bias": 2})
    {'conv': {'kernel': 1, 'bias': 2}}
    """
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, last = path.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = leaf
    return tree


def label_paths(rules: Mapping[str, str], default: str) -> Callable[[PyTree], PyTree]:
    """Label each leaf by the first rule that its path matches, for ``optax.partition``.

    Args:
        rules: from a regular expression, searched for in the path, to a label.
        default: the label of what no rule matches.

    Returns:
        A function from a tree to the tree of its labels.

    >>> labels = label_paths({r"^net/head": "fast"}, default="frozen")
    >>> labels({"net": {"head": {"bias": 0.0}, "trunk": {"bias": 0.0}}})
    {'net': {'head': {'bias': 'fast'}, 'trunk': {'bias': 'frozen'}}}
    """
    compiled = [(re.compile(pattern), label) for pattern, label in rules.items()]

    def label(path, leaf):
        del leaf
        name = _name(path)
        return next((label for pattern, label in compiled if pattern.search(name)), default)

    return lambda tree: jax.tree.map_with_path(label, tree)


def path_mask(pattern: str) -> Callable[[PyTree], PyTree]:
    """Whether each leaf's path matches a regular expression, for ``optax.masked``.

    Weight decay on kernels alone is ``optax.add_decayed_weights(1e-4, path_mask("kernel$"))``.

    >>> path_mask("kernel$")({"kernel": 1.0, "bias": 1.0})
    {'bias': False, 'kernel': True}
    """
    compiled = re.compile(pattern)
    return lambda tree: jax.tree.map_with_path(
        lambda path, leaf: compiled.search(_name(path)) is not None, tree
    )


def transplant(
    target: PyTree,
    source: PyTree,
    *,
    rename: Mapping[str, str] | None = None,
    only: str = "",
    strict: bool = True,
) -> PyTree:
    """Copy parameters of one tree into another by path.

    Args:
        target: the nested dict to copy into; what is not copied stays as it is.
        source: the nested dict to copy from.
        rename: from a regular expression to its replacement (as :func:`re.sub` takes them), applied
            in order to the *source*'s paths.
        only: copy only what goes to a path in which this regular expression is found.
        strict: whether every source leaf selected must find its place. If not, those
            without one, or of another shape, are left out.

    Returns:
        A new tree of the target's structure, shapes and dtypes.

    Raises:
        ValueError: if ``strict`` and a leaf has no place or another shape, or if nothing at all
            was copied. The message names the paths.

    >>> new = transplant({"a": {"w": 0.0}, "b": 0.0}, {"old": {"w": 1.0}}, rename={"^old": "a"})
    >>> float(new["a"]["w"]), float(new["b"])
    (1.0, 0.0)
    """
    places = flatten_paths(target)
    faults: list[str] = []
    found: dict[str, Any] = {}
    for original, leaf in flatten_paths(source).items():
        path = original
        for pattern, replacement in (rename or {}).items():
            path = re.sub(pattern, replacement, path)
        if not re.search(only, path):
            continue
        if path not in places:
            faults.append(f"{path} (from {original}) is not in the target")
        elif np.shape(leaf) != np.shape(places[path]):
            faults.append(f"{path} has the shape {np.shape(places[path])}, not {np.shape(leaf)}")
        else:
            found[path] = jnp.asarray(leaf, jnp.result_type(places[path]))
    if strict and faults:
        raise ValueError("transplant: " + "; ".join(faults))
    if not found:
        raise ValueError(
            f"transplant copied nothing: no path of the source, such as "
            f"{next(iter(flatten_paths(source)), '(none)')!r}, leads into the target, which has "
            f"{next(iter(places), '(none)')!r}"
        )
    return jax.tree.map_with_path(lambda path, leaf: found.get(_name(path), leaf), target)


def count_parameters(params: PyTree) -> int:
    """The number of scalars in a tree.

    >>> count_parameters({"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)})
    16
    """
    return sum(int(np.prod(np.shape(leaf))) for leaf in jax.tree.leaves(params))


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
