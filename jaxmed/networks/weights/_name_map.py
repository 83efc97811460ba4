"""Conversion of weights between names and layouts, and inflation of kernels to 3D."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import PyTree, flatten_paths


def from_tensors(
    variables: PyTree,
    tensors: Mapping[str, np.ndarray],
    names: Mapping[str, str | Callable[[re.Match], str]],
    *,
    ignore: Sequence[str] = (r"num_batches_tracked$",),
    layout: Literal["torch", "flax"] = "torch",
    transposed: Sequence[str] = (),
    strict: bool = True,
) -> PyTree:
    r"""Fill a network's variables with tensors stored under other names.

    Args:
        variables: a nested dict of arrays, such as ``{"params": params, "state": state}``.
        tensors: tensors by name, as returned by :func:`read_tensors`.
        names: mapping of regular expressions to replacements, as in :func:`re.sub`, applied in
            order to each tensor's name; the result must be a path of ``variables``.
        ignore: regular expressions of tensors to leave out.
        layout: ``"torch"``: tensors assigned to a ``kernel`` are transposed from
            ``(out, in, *window)`` to ``(*window, in, out)``. ``"flax"``: unchanged.
        transposed: regular expressions of the paths of kernels of transposed convolutions, which
            torch stores as ``(in, out, *window)``, and mirrored.
        strict: whether every tensor must match a path and every path a tensor. Otherwise tensors
            that do not match are skipped and the variables keep their values.

    Returns:
        A tree of the structure, shapes and dtypes of ``variables``. A tensor that has further axes
        of length 1 loses them.

    Raises:
        ValueError: if ``strict`` and a tensor has no path or a different shape, or a path has no
            tensor (the message lists all); if two tensors map to the same path, or none to any.

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
        if path not in places:
            faults.append(f"{name} becomes {path}, which the network does not have")
            continue
        tensor, shape = np.asarray(tensor), np.shape(places[path])
        if layout == "torch" and path.endswith("kernel") and tensor.ndim >= 2:
            if any(re.search(pattern, path) for pattern in transposed):
                tensor = _transposed(tensor, shape)
            else:
                tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
        if tensor.shape != shape and _without_ones(tensor.shape) == _without_ones(shape):
            tensor = tensor.reshape(shape)
        if tensor.shape != shape:
            faults.append(f"{name} becomes {tensor.shape}, but {path} is {shape}")
        else:
            found[path], origin[path] = tensor, name
    faults += [f"nothing goes to {path}" for path in places if path not in found]
    if not found or (strict and faults):
        raise ValueError(f"{len(faults)} misfits:\n" + "\n".join(faults))
    return _filled(
        variables,
        {path: jnp.asarray(x, jnp.result_type(places[path])) for path, x in found.items()},
    )


def _transposed(tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Torch's (in, out / groups, *window), mirrored, as (*window, in / groups, out)."""
    tensor = np.flip(tensor, tuple(range(2, tensor.ndim)))
    groups = max(tensor.shape[0] // shape[-2], 1) if len(shape) == tensor.ndim else 1
    if tensor.shape[0] % groups:
        return np.moveaxis(tensor, (0, 1), (-2, -1))
    blocks = tensor.reshape(groups, -1, *tensor.shape[1:])  # (groups, in, out, *window)
    blocks = np.moveaxis(blocks, (1, 0, 2), (-3, -2, -1))
    return blocks.reshape(*blocks.shape[:-2], -1)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def inflate(
    variables: PyTree, target: PyTree, *, method: Literal["average", "centre"] = "average"
) -> PyTree:
    r"""Inflate the weights of a 2D network to those of the same network in 3D.

    A kernel `(h, w, in, out)` becomes `(d, h, w, in, out)`: ``"average"`` divides it over the d
    planes, so that on a volume of identical planes the inflated network computes what the 2D one
    computes on one plane (away from the depth borders, where a convolution pads); ``"centre"``
    puts it into the middle plane, so that the inflated network processes each plane separately.

    Args:
        variables: parameters or state of the 2D network.
        target: those of the 3D network, with the same paths: arrays or their shapes.
        method: ``"average"`` or ``"centre"``.

    Returns:
        A tree with the target's structure; leaves of equal shape are copied.

    Raises:
        ValueError: if the method is unknown, or leaves do not correspond (the message lists all).

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
    """Return the tree with some leaves replaced, by path."""

    def one(path, leaf):
        return leaves.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf)

    return jax.tree.map_with_path(one, tree)
