"""Weights under other names and in other layouts; kernels of another rank."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import PyTree, flatten_paths


def from_tensors(
    variables: PyTree,
    tensors: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    *,
    ignore: Sequence[str] = (r"num_batches_tracked$",),
    layout: Literal["torch", "flax"] = "torch",
    strict: bool = True,
) -> PyTree:
    r"""Fill a network's variables with tensors known by other names.

    Args:
        variables: a nested dict of arrays, such as ``{"params": params, "state": state}``.
        tensors: by name, as :func:`read_tensors` gives them.
        names: from regular expressions to replacements, as :func:`re.sub` takes them, applied in
            order to each tensor's name; the result must be a path of ``variables``.
        ignore: regular expressions: tensors to leave out.
        layout: ``"torch"``: what goes to a ``kernel`` is ``(out, in, *window)`` there, and
            ``(*window, in, out)`` here. ``"flax"``: as it is.
        strict: whether every tensor must find a place and every place a tensor. If not, what does
            not fit is left out, and keeps the value it has.

    Returns:
        A tree of the structure, shapes and dtypes of ``variables``.

    Raises:
        ValueError: if ``strict``, and a tensor has no place or another shape, or a place has no
            tensor: the message lists them all. If two tensors go to one place, or none to any.

    >>> variables = {"params": {"head": {"kernel": np.zeros((4, 2)), "bias": np.zeros(2)}}}
    >>> tensors = {"fc.weight": np.ones((2, 4)), "fc.bias": np.ones(2)}
    >>> names = {r"^fc\.weight$": "params/head/kernel", r"^fc\.bias$": "params/head/bias"}
    >>> from_tensors(variables, tensors, names)["params"]["head"]["kernel"].shape
    (4, 2)
    """
    places = flatten_paths(variables)
    found: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    faults: list[str] = []
    for name, tensor in tensors.items():
        if any(re.search(pattern, name) for pattern in ignore):
            continue
        path = name
        for pattern, replacement in names.items():
            path = re.sub(pattern, replacement, path)
        if path in origin:
            raise ValueError(f"both {origin[path]!r} and {name!r} go to {path!r}")
        tensor = np.asarray(tensor)
        if layout == "torch" and path.endswith("kernel") and tensor.ndim >= 2:
            tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
        if path not in places:
            faults.append(f"{name} becomes {path}, which the network does not have")
        elif tensor.shape != np.shape(places[path]):
            faults.append(f"{name} becomes {tensor.shape}, but {path} is {np.shape(places[path])}")
        else:
            found[path], origin[path] = tensor, name
    faults += [f"nothing goes to {path}" for path in places if path not in found]
    if not found or (strict and faults):
        raise ValueError(f"{len(faults)} misfits:\n" + "\n".join(faults))
    return _filled(
        variables,
        {path: jnp.asarray(x, jnp.result_type(places[path])) for path, x in found.items()},
    )


def inflate(
    variables: PyTree, target: PyTree, *, method: Literal["average", "centre"] = "average"
) -> PyTree:
    r"""Weights of a 2D network as weights of the same network in 3D.

    A kernel `(h, w, in, out)` becomes `(d, h, w, in, out)`: ``"average"`` divides it over the d
    planes, so that of a volume of equal planes the inflated network sees what the 2D one sees
    of a plane (away from the borders in depth, where a convolution pads); ``"centre"`` puts it into
    the middle plane, so that the inflated network sees each plane by itself.

    Args:
        variables: the 2D network's parameters, or state.
        target: the 3D network's, of the same paths: arrays or their shapes.
        method: one of these.

    Returns:
        A tree of the target's structure; what has the same shape is copied.

    Raises:
        ValueError: if the method is unknown, or leaves do not correspond: lists them all.

    References:
        Carreira and Zisserman (2017), Quo vadis, action recognition? A new model and the Kinetics
        dataset, CVPR (average); Feichtenhofer, Pinz and Wildes (2016), Spatiotemporal residual
        networks for video action recognition, NeurIPS.

    >>> flat, deep = {"kernel": np.ones((3, 3, 1, 2))}, {"kernel": np.zeros((3, 3, 3, 1, 2))}
    >>> print(inflate(flat, deep)["kernel"][:, 0, 0, 0, 0])
    [0.33333334 0.33333334 0.33333334]
    """
    if method not in ("average", "centre"):
        raise ValueError(f'method must be "average" or "centre", got {method!r}')
    source, places = flatten_paths(variables), flatten_paths(target)
    faults = [f"{path} is only in the 2D network" for path in source if path not in places]
    inflated = {}
    for path, place in places.items():
        if path not in source:
            faults.append(f"{path} is only in the 3D network")
            continue
        leaf, shape = jnp.asarray(source[path]), np.shape(place)
        if leaf.shape == shape:
            inflated[path] = leaf
        elif len(shape) >= 3 and leaf.shape == shape[1:]:
            depth = shape[0]
            if method == "average":
                inflated[path] = jnp.broadcast_to(leaf / depth, shape)
            else:
                inflated[path] = jnp.zeros(shape, leaf.dtype).at[(depth - 1) // 2].set(leaf)
        else:
            faults.append(f"{path} is {leaf.shape} in 2D, {shape} in 3D")
    if faults:
        raise ValueError(f"{len(faults)} misfits:\n" + "\n".join(faults))
    return _filled(target, inflated)


def _filled(tree: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """The tree with some leaves, by path, put in the place of its own."""

    def one(path, leaf):
        return leaves.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf)

    return jax.tree.map_with_path(one, tree)
