"""Resampling and cropping between voxel grids, and back to the scan's own space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from jaxmed.data._source import Example
from jaxmed.data.images._foreground import labelled_classes, labelled_voxels
from jaxmed.data.images._space import Scan, Space

_ROUNDING = 1e-4  # in voxels: rounding by headers of a flip or a shift by whole voxels


def to_space(array: np.ndarray, affine: np.ndarray, space: Space, *, order: int = 1) -> np.ndarray:
    r"""Resample an array to another grid: ``out[i] = array[A^-1 A' i]`` for its voxel i.

    Masks (integers) are resampled by majority: each class is interpolated and the largest wins,
    which is exact if the two grids differ by flips, permutations and crops only.

    Between the centre of an outermost voxel and its border, and up to a quarter of a voxel beyond,
    the array goes on as it ends: a constant image stays constant to its edge, and a structure that
    touches the border loses nothing, there and on the way back. What lies farther out is 0.

    Args:
        array: (*spatial,) whole numbers for a mask, or (*spatial, channels) floats.
        affine: from its voxel indices to millimetres.
        space: the new grid.
        order: spline order for images; 1 is linear.

    Returns:
        The array on ``space``, of the same dtype; an image of whole numbers is rounded.

    Examples:
        >>> import numpy as np
        >>> flip = np.array([[-1.0, 0, 2], [0, 1, 0], [0, 0, 1]])
        >>> to_space(np.array([[1], [2], [3]]), np.eye(3), Space((3, 1), flip)).ravel().tolist()
        [3, 2, 1]
    """
    array = np.asarray(array)
    rank = len(affine) - 1
    mask = array.ndim == rank
    if array.ndim not in (rank, rank + 1):
        raise ValueError(
            f"an array on a {rank}D grid has {rank} or {rank + 1} axes, got shape {array.shape}"
        )
    if mask and array.dtype.kind not in "iub":
        raise ValueError(f"a mask holds whole numbers, got {array.dtype}")
    matrix, exact = _voxel_map(affine, space)
    if exact and np.array_equal(matrix, np.eye(rank + 1)) and array.shape[:rank] == space.shape:
        return array.copy()
    inside = Space(array.shape[:rank], affine).reaches(space)

    def pull(values: np.ndarray, degree: int) -> np.ndarray:
        out = ndimage.affine_transform(
            values,
            matrix[:-1, :-1],
            offset=matrix[:-1, -1],
            output_shape=space.shape,
            order=degree,
            mode="nearest",
        )
        out[~inside] = 0
        return out

    if exact and mask:
        return pull(array, 0)
    if not mask:
        degree = 0 if exact else order
        keep = degree == 0 and array.dtype != np.float16  # moved, not filtered
        values = array if keep else _for_filters(array)
        channels = [pull(values[..., c], degree) for c in range(array.shape[-1])]
        return rounded_to(np.stack(channels, axis=-1), array.dtype)
    best = inside - pull((array != 0).astype(np.float32), 1)
    out = np.zeros(space.shape, array.dtype)
    for label in np.unique(array[array != 0]):
        share = pull((array == label).astype(np.float32), 1)
        wins = share > best
        out[wins] = label
        best[wins] = share[wins]
    return out


def moves_whole_voxels(affine: np.ndarray, space: Space) -> bool:
    """Whether `to_space` interpolates nothing: it flips, exchanges axes, crops and pads.

    Args:
        affine: from an array's voxel indices to millimetres.
        space: the new grid.

    Examples:
        >>> import numpy as np
        >>> [moves_whole_voxels(np.eye(3), Space((4, 4), np.diag([k, 1, 1]))) for k in (-1, 0.5)]
        [True, False]
    """
    return _voxel_map(affine, space)[1]


def _voxel_map(affine: np.ndarray, space: Space) -> tuple[np.ndarray, bool]:
    """From voxels of a grid to voxels of another, and whether that is a map of whole numbers."""
    matrix = np.linalg.solve(affine, space.affine)
    whole = np.round(matrix)
    exact = bool(np.allclose(matrix, whole, atol=_ROUNDING))
    return (whole if exact else matrix), exact


def _for_filters(array: np.ndarray) -> np.ndarray:
    """Widen an array to a type that SciPy filters without rounding in between."""
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def rounded_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast numbers, to integers by rounding and clipping to the range of the type."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and values.dtype.kind == "f":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    elif dtype.kind == "b" and values.dtype.kind == "f":
        values = values >= 0.5
    return values.astype(dtype)


def resample_spacing(
    scan: Scan, spacing: Sequence[float], *, order: int = 1, antialias: bool = True
) -> Scan:
    """Resample a scan to another voxel size, about the same centre.

    Args:
        scan: an image, or a mask (resampled by majority).
        spacing: new voxel edge lengths, in millimetres.
        order: spline order for images.
        antialias: whether an image is blurred first along the axes that get coarser.

    Returns:
        The scan on the new grid; ``file`` is kept, so `write_mask` finds the way back.

    Examples:
        >>> import numpy as np
        >>> scan = Scan(np.ones((4, 6, 1), np.float32), np.eye(3), Space((4, 6), np.eye(3)))
        >>> resample_spacing(scan, (2.0, 1.0)).array.shape
        (2, 6, 1)
    """
    rank = len(scan.affine) - 1
    if len(spacing) != rank or min(spacing) <= 0:
        raise ValueError(f"spacing is {rank} positive lengths, got {tuple(spacing)}")
    zoom = np.asarray(spacing, float) / scan.spacing
    old = np.asarray(scan.space.shape)
    new = np.maximum(np.round(old / zoom), 1).astype(int)
    step = np.diag([*zoom, 1.0])
    step[:-1, -1] = (old - 1) / 2 - zoom * (new - 1) / 2
    affine = scan.affine @ step
    array = scan.array
    if array.ndim > rank and antialias and np.any(zoom > 1.001):
        sigma = [*np.maximum((zoom - 1) / 2, 0), 0.0]
        values = _for_filters(array)
        array = rounded_to(ndimage.gaussian_filter(values, sigma, mode="nearest"), array.dtype)
    space = Space(tuple(new.tolist()), affine)
    return Scan(to_space(array, scan.affine, space, order=order), affine, scan.file)


def crop_or_pad(
    array: np.ndarray,
    shape: Sequence[int],
    *,
    centre: Sequence[int] | None = None,
    value: float | Sequence[float] | np.ndarray = 0,
) -> np.ndarray:
    """Crop, and pad where the array is too small, to a spatial shape.

    Args:
        array: (*spatial, ...).
        shape: wanted spatial shape.
        centre: voxel moved to the middle; the array's own middle by default.
        value: padding value, one number or one per channel (the last axis): in a normalised image,
            the former 0 has a different value in each channel.

    Returns:
        (*shape, ...).

    Examples:
        >>> import numpy as np
        >>> crop_or_pad(np.arange(5), (3,)).tolist(), crop_or_pad(np.arange(2), (4,)).tolist()
        ([1, 2, 3], [0, 0, 1, 0])
    """
    rank = len(shape)
    if array.ndim < rank:
        raise ValueError(f"shape {tuple(shape)} for an array of shape {array.shape}")
    middle = [n // 2 for n in array.shape[:rank]] if centre is None else [int(c) for c in centre]
    start = [c - n // 2 for c, n in zip(middle, shape, strict=True)]
    out = np.empty((*shape, *array.shape[rank:]), array.dtype)
    out[...] = np.asarray(value, array.dtype)
    source = tuple(
        slice(max(s, 0), max(min(s + n, size), 0))
        for s, n, size in zip(start, shape, array.shape[:rank], strict=True)
    )
    part = array[source]
    target = tuple(
        slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(start, part.shape[:rank], strict=True)
    )
    out[target] = part
    return out


def crop_or_pad_scan(
    scan: Scan, shape: Sequence[int], *, value: float | Sequence[float] | np.ndarray = 0
) -> Scan:
    """Crop or pad a scan about its middle, and adapt its affine."""
    start = np.array([n // 2 - m // 2 for n, m in zip(scan.space.shape, shape, strict=True)])
    step = np.eye(len(scan.affine))
    step[:-1, -1] = start
    return Scan(crop_or_pad(scan.array, shape, value=value), scan.affine @ step, scan.file)


def nonzero_box(image: np.ndarray) -> tuple[slice, ...] | None:
    """Find the smallest box that holds all voxels that are not 0 in every channel.

    Args:
        image: (*spatial, channels).

    Returns:
        A slice per spatial axis; None if every voxel is 0.
    """
    inside = (image != 0).any(-1)
    if not inside.any():
        return None
    box = []
    for axis in range(inside.ndim):
        others = tuple(a for a in range(inside.ndim) if a != axis)
        found = np.flatnonzero(inside.any(others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def random_patch(
    shape: Sequence[int],
    *,
    foreground: float = 1 / 3,
    fields: Sequence[str] = ("image", "mask"),
    value: float | Sequence[float] | np.ndarray = 0,
) -> Callable[[np.random.Generator, Example], Example]:
    """Create a transform for `batches` that crops a random patch, often centred on foreground.

    With probability ``foreground`` the patch is centred on a random voxel of a random class of the
    mask; else it lies anywhere in the volume (Isensee et al., 2021). Small volumes are padded. Of
    memory maps (`memory_mapped`) only the patch is read.

    Args:
        shape: spatial shape of the patch.
        foreground: share of patches centred on a labelled voxel; 0 needs no mask.
        fields: fields to crop; absent ones are ignored, other fields are dropped unless they
            are single numbers or vectors of one length.
        value: padding value of images, as in `crop_or_pad`; ``"mask"`` is padded with 0.

    Returns:
        ``(rng, example) -> example``.

    References:
        Isensee et al. nnU-Net. Nature Methods 18:203, 2021.

    Examples:
        >>> import numpy as np
        >>> cut = random_patch((4, 4))
        >>> example = {"image": np.ones((9, 7, 1)), "mask": np.ones((9, 7), int)}
        >>> cut(np.random.default_rng(0), example)["image"].shape
        (4, 4, 1)
    """
    shape = tuple(int(n) for n in shape)

    def transform(rng: np.random.Generator, example: Example) -> Example:
        size = example[fields[0]].shape[: len(shape)]
        mask = example.get("mask")
        centre = None
        if mask is not None and rng.random() < foreground:
            classes = labelled_classes(mask)
            if len(classes):
                voxels = labelled_voxels(mask, rng.choice(classes))
                voxel = np.unravel_index(rng.choice(voxels), mask.shape)
                centre = [
                    int(np.clip(c, n // 2, max(s - (n - n // 2), n // 2))) if s > n else s // 2
                    for c, n, s in zip(voxel, shape, size, strict=True)
                ]
        if centre is None:
            centre = [
                int(rng.integers(n // 2, s - n + n // 2 + 1)) if s > n else s // 2
                for n, s in zip(shape, size, strict=True)
            ]
        out = {k: v for k, v in example.items() if k not in fields and np.ndim(v) <= 1}
        for name in fields:
            if name in example:
                fill = 0 if name == "mask" else value
                out[name] = crop_or_pad(example[name], shape, centre=centre, value=fill)
        return out

    return transform
