"""Networks of other libraries: their weights, in the network here that computes the same."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import PyTree, from_linen
from jaxmed.networks.weights._name_map import from_tensors
from jaxmed.networks.weights._tensor_files import read_tensors

Shapes = Mapping[str, tuple[int, ...]]
Names = Mapping[str, str | Callable[[re.Match], str]]

# What wraps a state dict: the names under which trainers nest it, and the modules they wrap it in.
_NESTS = ("state_dict", "model_state_dict", "model_state", "network_weights", "model", "net", "ema")
_WRAPS = ("module", "_orig_mod", "model", "net", "network", "backbone")
_SHOWN = 12


class Told(NamedTuple):
    """What the shapes in a file tell of its network.

    Attributes:
        options: fields of the network.
        rank: number of spatial axes.
        channels: of the image.
        shape: the image, where the weights are tied to its size; else what the network can take.
    """

    options: dict[str, Any]
    rank: int
    channels: int
    shape: tuple[int, ...]


class Source(NamedTuple):
    """How the weights of one published architecture become those of a network here.

    Attributes:
        make: the network, from options.
        told: options from shapes, given those of the user, which it may need.
        names: from a network to the regular expressions of :func:`from_tensors`.
        kind: what it answers: a class an `"image"`, or one a `"voxel"`.
        asks: options that shapes do not tell, with what they are; the user gives them, or the
            network's default is taken.
        transposed: paths of transposed convolutions.
        ignore: tensors that are not used, in training neither.
        signs: regular expressions that a name must match for the file to be of this architecture.
        standard: mean and deviation of each channel of images in [0, 1], by which the library
            normalises what its own weights of as many channels see.
    """

    make: Callable[..., nn.Module]
    told: Callable[[Shapes, Mapping[str, Any]], Told]
    names: Callable[[Any], Names]
    kind: str
    asks: Mapping[str, str] = {}
    transposed: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    standard: tuple[tuple[float, float], ...] = ()


class Converted(NamedTuple):
    """A network of another library with its weights; made by :func:`from_published`.

    Attributes:
        network: the Linen module.
        params: its parameters.
        state: its state.
        kind: what it answers: a class an `"image"`, or one a `"voxel"`.
        rank: number of spatial axes of its images.
        channels: channels of its images.
        classes: number of logits.
        shape: an image it can take; the only one, if the network's positions are learned.
        standard: mean and deviation of each channel of images in [0, 1], by which the library
            normalises images for its own weights; empty where it has no such rule.
    """

    network: nn.Module
    params: PyTree
    state: PyTree
    kind: str
    rank: int
    channels: int
    classes: int
    shape: tuple[int, ...]
    standard: tuple[tuple[float, float], ...] = ()


def from_published(
    weights: str | os.PathLike | Mapping[str, np.ndarray], source: str, **options: Any
) -> Converted:
    """Make the network whose published weights these are, and fill it with them.

    What the shapes of the tensors tell (channels, depths, widths, classes, two or three axes) is
    read off them. The state dict may be nested, as trainers write it (`state_dict`, `model`), and
    its names may begin with `module.` or the like.

    Args:
        weights: a file, which :func:`read_tensors` reads without running it, or its tensors.
        source: library and architecture, such as `"monai:SwinUNETR"`; :func:`published` lists them.
        **options: fields of the network here that shapes do not tell, such as `heads`, or that are
            to differ, such as `dtype` and `remat`.

    Returns:
        The network, its weights, and the images it takes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source is unknown, the file is of another architecture, an option is
            unknown or a number is not finite; or if a tensor is missing, unexpected, or of another
            shape: the message names it.

    >>> tensors = {
    ...     "features.0.0.weight": np.ones((4, 1, 4, 4)), "features.0.0.bias": np.ones(4)
    ... }
    >>> from_published(tensors, "torchvision:convnext")
    Traceback (most recent call last):
    ...
    ValueError: the weights are not of torchvision:convnext: no tensor is named like ...
    """
    entry = _entry(source)
    where = "the mapping of tensors" if isinstance(weights, Mapping) else os.fspath(weights)
    tensors = weights if isinstance(weights, Mapping) else read_tensors(weights)
    tensors = _unwrapped(tensors, entry.signs)
    tensors = {
        name: value
        for name, value in tensors.items()
        if not any(re.search(pattern, name) for pattern in (*entry.ignore, r"num_batches_tracked$"))
    }
    for sign in entry.signs:
        if not any(re.search(sign, name) for name in tensors):
            shown = ", ".join(sorted(tensors)[:_SHOWN])
            raise ValueError(
                f"the weights are not of {source}: no tensor is named like {sign}; "
                f"{where} has {shown}{', ...' if len(tensors) > _SHOWN else ''}"
            )
    if odd := [name for name, value in tensors.items() if not _finite(value)]:
        raise ValueError(
            f"{where}: {odd[0]} holds numbers that are not finite"
            + (f", and so do {len(odd) - 1} other tensors" if len(odd) > 1 else "")
            + ": weights of a training that diverged"
        )
    shapes = {name: tuple(np.shape(value)) for name, value in tensors.items()}
    try:
        with _telling(source, entry, options):
            told = entry.told(shapes, options)
    except KeyError as error:
        raise ValueError(
            f"the weights are not a whole {source}: {where} has no tensor {error.args[0]!r}"
        ) from error
    # Options that the shapes complete, to one for each stage, are told.
    completed = {"shape"} | (entry.asks.keys() & told.options.keys())
    own = {name: value for name, value in options.items() if name not in completed}
    fields = {**told.options, **own}
    try:
        network = entry.make(**fields)
    except TypeError as error:
        known = ", ".join(dict.fromkeys((*told.options, *entry.asks, "dtype", "remat")))
        raise ValueError(f"{source} has no such option: {error}; there are {known}") from error
    with _telling(source, entry, options):
        shape = tuple(options.get("shape", told.shape))
        image = jax.ShapeDtypeStruct((1, *shape, told.channels), jnp.float32)
        made = from_linen(network)
        params, state = jax.eval_shape(made.init, jax.random.key(0), image)
    wanted = {"params": params, "state": state}
    try:
        filled = from_tensors(wanted, tensors, entry.names(network), transposed=entry.transposed)
    except ValueError as error:
        hint = "".join(f"; --option {k}=...: {text}" for k, text in entry.asks.items())
        raise ValueError(f"{where} does not fit {source} with {fields}{hint}. {error}") from error
    classes = fields["classes"]
    standard = entry.standard if len(entry.standard) == told.channels else ()
    return Converted(
        network, filled["params"], filled["state"], entry.kind, told.rank, told.channels, classes,
        shape, standard,
    )  # fmt: skip


def _finite(tensor: np.ndarray) -> bool:
    return bool(np.isfinite(np.asarray(tensor, np.float32)).all())


@contextlib.contextmanager
def _telling(source: str, entry: Source, options: Mapping[str, Any]) -> Iterator[None]:
    """Name the options in an error of what is made with them."""
    try:
        yield
    except (TypeError, ValueError, ArithmeticError) as error:
        if not options:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        hint = "".join(f"; {k}: {text}" for k, text in entry.asks.items())
        raise ValueError(f"{source} cannot be made with {given}: {error}{hint}") from error


def published() -> dict[str, dict[str, str]]:
    """List the architectures whose weights :func:`from_published` reads.

    Returns:
        For each, the options that the shapes of its tensors do not tell, and what they are.

    >>> published()["monai:SegResNet"]
    {'groups': 'groups of the normalisation; 8 unless given'}
    """
    return {name: dict(entry.asks) for name, entry in _sources().items()}


def _sources() -> dict[str, Source]:
    from jaxmed.networks.weights.sources import SOURCES

    return SOURCES


def _entry(source: str) -> Source:
    sources = _sources()
    found = {name.lower(): entry for name, entry in sources.items()}.get(str(source).lower())
    if found is None:
        raise ValueError(
            f"weights of {source!r} are not known here; there are {', '.join(sources)}"
        )
    return found


def _unwrapped(tensors: Mapping[str, np.ndarray], signs: tuple[str, ...]) -> dict:
    """Strip what trainers put around a state dict, until its names are the architecture's."""
    found = dict(tensors)
    while not all(any(re.search(sign, name) for name in found) for sign in signs):
        nests = [n for n in _NESTS if any(name.startswith(f"{n}.") for name in found)]
        wraps = [w for w in _WRAPS if all(name.startswith(f"{w}.") for name in found)]
        if wraps:
            found = {name.partition(".")[2]: value for name, value in found.items()}
        elif nests:
            prefix = f"{nests[0]}."
            found = {
                name.removeprefix(prefix): value
                for name, value in found.items()
                if name.startswith(prefix)
            }
        else:
            return dict(tensors)
    return found
