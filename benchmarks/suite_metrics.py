"""Distance transform, components and surface metrics on 128^3, against SciPy and MONAI."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import _torch
from benchmarks._case import Case, Options, Run, UnavailableError
from benchmarks._jax import compiled
from jaxmed import metrics, ops

_SPACING = (1.0, 1.5, 0.8)


def cases(options: Options) -> list[Case]:
    """Every case of the suite."""
    size = 16 if options.quick else 128
    mask, truth = organ(size, 0.0), organ(size, 0.06)
    found = [
        _distance("distance transform, organ", mask),
        _distance("distance transform, scattered voxels", _scattered(size)),
        _components("connected components, organ", mask),
        _components("connected components, noise", _noise(size)),
        _morphology("erosion and dilation", mask),
    ]
    return [*found, *_surface(mask, truth, options)]


def organ(size: int, shift: float) -> np.ndarray:
    """A lobed blob that fills about a tenth of the volume, moved by a share of its edge."""
    axis = np.linspace(-1, 1, size)
    z, y, x = np.meshgrid(axis - shift, axis, axis, indexing="ij")
    radius = 0.55 + 0.1 * np.sin(5 * np.arctan2(y, x)) * np.cos(3 * z)
    return x**2 + y**2 + (1.3 * z) ** 2 < radius**2


def _scattered(size: int) -> np.ndarray:
    return np.random.default_rng(0).random((size,) * 3) > 0.01


def _noise(size: int) -> np.ndarray:
    field = np.random.default_rng(0).normal(size=(size,) * 3)
    return ndimage.gaussian_filter(field, 2) > 0.03


def _numpy(function: Callable, *arguments: Any) -> Callable[[], Run]:
    """A side that computes NumPy arrays on the host."""
    call = functools.partial(function, *arguments)
    return lambda: Run(call, call)


def _distance(name: str, mask: np.ndarray) -> Case:
    def ours() -> Run:
        return compiled(lambda m: ops.distance_transform(m, spacing=_SPACING), mask)

    theirs = functools.partial(ndimage.distance_transform_edt, sampling=_SPACING)
    return Case(name, {"jaxmed": ours, "scipy": _numpy(theirs, mask)}, "distance")


def _components(name: str, mask: np.ndarray) -> Case:
    def ours() -> Run:
        return compiled(ops.connected_components, mask, keep=lambda pair: pair[0])

    sides = {"jaxmed": ours, "scipy": _numpy(lambda m: ndimage.label(m)[0], mask)}
    return Case(name, sides, "components", tolerance=0.0)


def _morphology(name: str, mask: np.ndarray) -> Case:
    def ours() -> Run:
        return compiled(
            lambda m: (ops.binary_erode(m, iterations=2), ops.binary_dilate(m, iterations=2)), mask
        )

    def theirs(m: np.ndarray) -> Any:
        return ndimage.binary_erosion(m, iterations=2), ndimage.binary_dilation(m, iterations=2)

    return Case(name, {"jaxmed": ours, "scipy": _numpy(theirs, mask)}, "morphology")


def _surface(mask: np.ndarray, truth: np.ndarray, options: Options) -> list[Case]:
    """HD95, average distance and surface Dice of one pair of masks, and all of them together."""
    tolerance = 1.5

    def monai_side(name: str, **extra: Any) -> Callable[[], Run]:
        def make() -> Run:
            torch = _torch.torch_module(options.threads)
            try:
                import monai.metrics
            except ImportError as error:
                raise UnavailableError("pip install --no-deps monai") from error
            pair = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (mask, truth)]
            function = getattr(monai.metrics, name)

            def call() -> float:
                return float(
                    function(*pair, include_background=True, spacing=_SPACING, **extra).ravel()[0]
                )

            return Run(call, call)

        return make

    def ours(function: Callable, **extra: Any) -> Callable[[], Run]:
        return _numpy(functools.partial(function, mask, truth, spacing=_SPACING, **extra))

    def together() -> list[float]:
        return [
            metrics.hausdorff(mask, truth, percentile=95, spacing=_SPACING),
            metrics.average_surface_distance(mask, truth, spacing=_SPACING),
            metrics.surface_dice(mask, truth, tolerance=tolerance, spacing=_SPACING),
        ]

    # MONAI's surface is that of the mask and its edges; definitions differ by a part of a voxel.
    loose = 0.1
    return [
        Case(
            "HD95, organ",
            {
                "jaxmed": ours(metrics.hausdorff, percentile=95),
                "monai": monai_side("compute_hausdorff_distance", percentile=95),
            },
            "surface",
            tolerance=loose,
        ),
        Case(
            "average surface distance, organ",
            {
                "jaxmed": ours(metrics.average_surface_distance),
                "monai": monai_side("compute_average_surface_distance", symmetric=True),
            },
            "surface",
            tolerance=loose,
        ),
        Case(
            "surface Dice, organ",
            {
                "jaxmed": ours(metrics.surface_dice, tolerance=tolerance),
                "monai": monai_side("compute_surface_dice", class_thresholds=[tolerance]),
            },
            "surface",
            tolerance=loose,
        ),
        Case(
            "all three, against SciPy's transform alone",
            {
                "jaxmed": _numpy(together),
                "scipy-edt": lambda: Run(
                    lambda: ndimage.distance_transform_edt(~mask, sampling=_SPACING)
                ),
            },
            "surface, together",
        ),
    ]
