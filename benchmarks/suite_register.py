"""A pair of brains registered, affinely and then by a field, against SimpleITK and ANTs.

Each side must come near our overlap of white matter, or its time would mean nothing. SimpleITK's
diffeomorphic demons do not, and its B-splines take minutes: both are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks._case import Case, Options, Run, UnavailableError
from benchmarks._memory import mark
from jaxmed import registration as reg
from jaxmed.data import Scan, Space, phantoms

_SPACING = 4.0
_WHITE = 2


def cases(options: Options) -> list[Case]:
    """Two made-up brains of 4 mm."""
    drawn = phantoms.brain(2, seed=3)
    images, masks = drawn.arrays["image"], drawn.arrays["mask"]
    if options.quick:
        images, masks = images[:, 8:40, 8:40, 8:40], masks[:, 8:40, 8:40, 8:40]
    whites = (masks == _WHITE).astype(np.float32)
    size = " x ".join(map(str, images.shape[1:-1]))
    found = []
    for name, ours, peers in (
        ("affine", _affine, {"simpleitk": _sitk_affine, "ants": _ants("Affine")}),
        ("affine, then a diffeomorphism", _field, {"ants": _ants("SyN")}),
    ):
        sides = {"jaxmed": _side(ours, images, whites, options)}
        sides |= {peer: _side(how, images, whites, options) for peer, how in peers.items()}
        found.append(Case(f"{size}, {name}", sides, name, tolerance=0.15))
    return found


def _side(how: Callable[..., Any], images: np.ndarray, whites: np.ndarray, options: Options):
    def make() -> Run:
        register, carried = how(images[0, ..., 0], images[1, ..., 0], options)
        register()  # compiled, where a side compiles
        mark()

        def overlap() -> np.ndarray:
            moved = carried(register(), whites[1]) > 0.5
            truth = whites[0] > 0.5
            return np.array([2 * (moved & truth).sum() / (moved.sum() + truth.sum())])

        return Run(register, overlap)

    return make


def _scan(array: np.ndarray) -> Scan:
    affine = np.diag([_SPACING] * 3 + [1.0])
    return Scan(array[..., None], affine, Space(array.shape, affine))


def _ours(fixed: np.ndarray, moving: np.ndarray, deform: bool):
    pair = _scan(fixed), _scan(moving)

    def register() -> reg.Warp:
        warp = reg.register(*pair, transform="affine", similarity="ncc", levels=2, steps=40).warp
        if deform:
            warp = reg.register(*pair, initial=warp, levels=2, steps=40).warp
        return jax.block_until_ready(warp)

    def carried(warp: reg.Warp, mask: np.ndarray) -> np.ndarray:
        return reg.warp_scan(warp, _scan(mask), pair[0].space).array[..., 0]

    return register, carried


def _affine(fixed: np.ndarray, moving: np.ndarray, options: Options):
    del options
    return _ours(fixed, moving, False)


def _field(fixed: np.ndarray, moving: np.ndarray, options: Options):
    del options
    return _ours(fixed, moving, True)


def _sitk(options: Options) -> Any:
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise UnavailableError("pip install SimpleITK") from error
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    return sitk


def _sitk_image(sitk: Any, array: np.ndarray) -> Any:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, np.float32))
    image.SetSpacing([_SPACING] * 3)
    return image


def _sitk_linear(sitk: Any, fixed: Any, moving: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 40)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInterpolator(sitk.sitkLinear)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method.SetInitialTransform(start, False)
    return method.Execute(fixed, moving)


def _sitk_carried(sitk: Any, fixed: Any) -> Callable[[Any, np.ndarray], np.ndarray]:
    def carried(warp: Any, mask: np.ndarray) -> np.ndarray:
        moved = sitk.Resample(_sitk_image(sitk, mask), fixed, warp, sitk.sitkLinear, 0.0)
        return sitk.GetArrayFromImage(moved).T

    return carried


def _sitk_affine(fixed: np.ndarray, moving: np.ndarray, options: Options):
    sitk = _sitk(options)
    pair = _sitk_image(sitk, fixed), _sitk_image(sitk, moving)
    return lambda: _sitk_linear(sitk, *pair), _sitk_carried(sitk, pair[0])


def _ants(kind: str) -> Callable[..., Any]:
    def how(fixed: np.ndarray, moving: np.ndarray, options: Options):
        del options  # ITK takes its number of threads from the environment
        try:
            import ants
        except ImportError as error:
            raise UnavailableError("pip install antspyx") from error
        pair = [
            ants.from_numpy(array.astype(np.float32), spacing=(_SPACING,) * 3)
            for array in (fixed, moving)
        ]

        def register() -> Any:
            return ants.registration(
                pair[0], pair[1], type_of_transform=kind, reg_iterations=(40, 40),
                aff_iterations=(40, 40), aff_shrink_factors=(2, 1), aff_smoothing_sigmas=(1, 0),
            )  # fmt: skip

        def carried(found: Any, mask: np.ndarray) -> np.ndarray:
            image = ants.from_numpy(mask.astype(np.float32), spacing=(_SPACING,) * 3)
            moved = ants.apply_transforms(pair[0], image, found["fwdtransforms"])
            return moved.numpy()

        return register, carried

    return how
