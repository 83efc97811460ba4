"""What of a batch goes into a network: one array by name, or several."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Inputs = str | Sequence[str] | Mapping[str, str]
"""A name; several names; or the network's names for the batch's arrays."""


def pick(arrays: Mapping[str, Any], inputs: Inputs, holder: str = "batch") -> Any:
    """An array by its name, or several as a dict.

    Args:
        arrays: by name.
        inputs: the name of one array; or several names, or a mapping from the names that the
            network knows to those that the batch has.
        holder: what has the arrays, for the error.

    Returns:
        The array, or a dict of arrays.

    Raises:
        KeyError: if one is not there; says which there are.

    >>> batch = {"image": 1, "bag_mask": 2, "label": 3}
    >>> pick(batch, "image")
    1
    >>> pick(batch, ("image", "bag_mask"))
    {'image': 1, 'bag_mask': 2}
    >>> pick(batch, {"image": "label"})
    {'image': 3}
    """
    if not isinstance(inputs, str):
        names = inputs if isinstance(inputs, Mapping) else {name: name for name in inputs}
        return {known: pick(arrays, name, holder) for known, name in names.items()}
    if inputs not in arrays:
        raise KeyError(f"the {holder} has no {inputs!r}; it has {sorted(arrays)}")
    return arrays[inputs]


def network_inputs(batch: Mapping[str, Any], inputs: Inputs) -> Any:
    """What a network is given of a batch: :func:`pick`, for padded bags with their mask.

    Args:
        batch: arrays by name.
        inputs: as :func:`pick` takes them.

    Returns:
        The array, or a dict of arrays.

    Raises:
        KeyError: if one is not there; says which there are.
        ValueError: if the batch has a ``bag_mask``, and the inputs take instances without it: an
            array ``(bags, instances, ...)`` whose padding the network would take for instances; or
            unlabelled bags without a mask of their own.

    >>> bags = {"image": jnp.ones((2, 5, 3)), "bag_mask": jnp.ones((2, 5), bool)}
    >>> sorted(network_inputs(bags, ("image", "bag_mask")))
    ['bag_mask', 'image']
    """
    given = pick(batch, inputs)
    names = [inputs] if isinstance(inputs, str) else inputs
    chosen = tuple(names.values() if isinstance(names, Mapping) else names)
    # Unlabelled bags are rows of their own, with weights of their own: the mask is not theirs.
    labelled = jnp.ndim(batch["image"]) if hasattr(batch.get("image"), "ndim") else None
    for name in chosen if "bag_mask" in batch else ():
        if name.startswith("unlabelled") and getattr(batch[name], "ndim", None) == labelled:
            raise ValueError(
                f"{name!r} has the shape {jnp.shape(batch[name])}, bags as those of the 'image', "
                "whose 'bag_mask' is not theirs: the network would take padding for instances. "
                f"Give batch[{name!r}] = {{'image': ..., 'bag_mask': ...}}, all ones where no bag "
                "is padded"
            )
    same_rows = [name for name in chosen if not name.startswith("unlabelled")]
    if "bag_mask" in batch and "bag_mask" not in chosen:
        bags = jnp.shape(batch["bag_mask"])
        shapes = [jnp.shape(x) for x in jax.tree.leaves([batch[name] for name in same_rows])]
        padded = [shape for shape in shapes if shape[: len(bags)] == bags]
        if padded:
            raise ValueError(
                f"inputs={inputs!r} takes bags of the shape {padded[0]} without the batch's "
                f"'bag_mask': the network would take padding for instances. Give "
                f"inputs={(*chosen, 'bag_mask')!r}, or leave 'bag_mask' out of a batch of bags "
                "that have no padding"
            )
    return given


_warned: set[tuple[int, ...]] = set()


def warn_if_channels_first(inputs: Any) -> None:
    """Warn, once for each shape, of images whose channels seem to stand before their voxels.

    Networks here take ``(batch, *spatial, channels)``. Suspect is an array with 1 or 3 in axis 1,
    and 8 or more in each axis behind; ``(batch, features)``, bags and channels-last images that
    are 3 voxels high are not.
    """
    for leaf in jax.tree.leaves(inputs):
        shape: Any = tuple(jnp.shape(leaf))
        suspect = len(shape) >= 4 and shape[1] in (1, 3) and min(shape[2:]) >= 8
        if suspect and shape not in _warned:
            _warned.add(shape)
            warnings.warn(
                f"inputs of the shape {shape} look like channels first; jaxmed takes channels "
                f"last, (batch, *spatial, channels), here perhaps "
                f"{(shape[0], *shape[2:], shape[1])}: np.moveaxis(images, 1, -1)",
                stacklevel=3,
            )
