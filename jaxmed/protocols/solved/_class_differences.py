"""Hidden weights that lie between examples of different classes."""

from __future__ import annotations

import jax
import numpy as np

from jaxmed.core import Key, PyTree, stream
from jaxmed.protocols.solved._deep_stacking import Start


def class_differences(*, target: str = "label", window: float = 1 / 16) -> Start:
    """Begin a module's hidden weights as differences of two examples of different classes.

    A unit's weights are one training image less another of another class, seen through a rectangle
    (a box, in a volume) of its own, and brought to norm 1; biases and the weights of predictions
    below stay drawn. Such units separate classes by what tells them apart somewhere, and far fewer
    of them are needed than of units drawn without the data. A constrained extreme learning machine
    with receptive fields, one module of it, is the best known of its kind.

    Args:
        target: name of the labels.
        window: the smallest share of the image that a unit sees; 1 for the whole image. Along each
            axis a window's length is drawn between ``window ** (1 / rank)`` of the image and all.

    Returns:
        What :func:`deep_stacking` takes as ``start``, for modules that see the image itself:
        :class:`jaxmed.networks.StackingModule` without a trunk.

    Raises:
        ValueError: if ``window`` is not in (0, 1]. When it begins a module: if labels are not whole
            numbers or of one class alone, or the module has a trunk.
        KeyError: when it begins a module, if there are no labels of this name.

    References:
        Zhu, Miao and Qing (2014), Constrained extreme learning machine: a novel highly
        discriminative random feedforward neural network, IJCNN; McDonnell et al. (2015), Fast,
        simple and accurate handwritten digit classification by training shallow neural network
        classifiers with the "extreme learning machine" algorithm, PLOS ONE 10.
    """
    if not 0 < window <= 1:
        raise ValueError(f"window must be above 0 and at most 1, got {window}")

    def start(key: Key, params: PyTree, given: dict[str, np.ndarray]) -> PyTree:
        if target not in given:
            raise KeyError(f"the arrays have no {target!r}; they have {sorted(given)}")
        rows = np.flatnonzero(given.get("weight", np.ones(len(given["image"]))) > 0)
        images, labels = given["image"][rows], np.asarray(given[target])[rows]
        pixels, units = params["kernel"].shape
        if np.prod(images.shape[1:]) != pixels:
            raise ValueError(
                f"class_differences begins modules that see the image itself, {images.shape[1:]}; "
                f"this one has weights for {pixels} features of a trunk"
            )
        one, other = _pairs(stream(key, "pairs"), labels, units, target)
        apart = images[one].astype(np.float32) - images[other].astype(np.float32)
        apart = apart * _windows(stream(key, "windows"), units, images.shape[1:-1], window)
        flat = apart.reshape(units, -1)
        norm = np.linalg.norm(flat, axis=1, keepdims=True)
        flat = np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 0)
        return {**params, "kernel": flat.T.astype(params["kernel"].dtype)}

    return start


def _pairs(key: Key, labels: np.ndarray, pairs: int, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of examples, and for each a row of another class, every such pair as probable."""
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise ValueError(
            f"class_differences needs {target!r} as a whole number an example, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    order = np.argsort(labels, kind="stable")
    classes, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"class_differences needs examples of two classes; {target!r} has one")
    others = len(labels) - count  # of each class
    likely = count * others / (count * others).sum()
    kind = np.asarray(jax.random.choice(stream(key, "class"), len(classes), (pairs,), p=likely))
    draw = np.asarray(jax.random.uniform(stream(key, "examples"), (2, pairs)))
    one = first[kind] + np.minimum((draw[0] * count[kind]).astype(int), count[kind] - 1)
    other = np.minimum((draw[1] * others[kind]).astype(int), others[kind] - 1)
    other = np.where(other < first[kind], other, other + count[kind])  # past the class's own block
    return order[one], order[other]


def _windows(key: Key, units: int, shape: tuple[int, ...], smallest: float) -> np.ndarray:
    """0 and 1: a box of each unit's own, `(units, *shape, 1)`."""
    seen = np.ones((units, *(1 for _ in shape), 1), np.float32)
    draws = np.asarray(jax.random.uniform(key, (2, len(shape), units)))
    for axis, length in enumerate(shape):
        least = max(1, int(np.ceil(length * smallest ** (1 / len(shape)))))
        size = least + np.floor(draws[0, axis] * (length - least + 1)).astype(int).clip(
            max=length - least
        )
        begin = np.floor(draws[1, axis] * (length - size + 1)).astype(int)
        begin = np.minimum(begin, length - size)
        at = np.arange(length)
        inside = (at >= begin[:, None]) & (at < (begin + size)[:, None])
        ahead = [1] * axis
        after = [1] * (len(shape) - axis)
        seen = seen * inside.reshape(units, *ahead, length, *after)
    return seen
