"""One image moved onto another.

A :class:`Warp` maps points of the fixed image's space to the moving one's, in millimetres:
:func:`affine_warp` (and :func:`centre_warp`), :func:`displacement_warp` and :func:`velocity_warp`
make one, :func:`compose`, :func:`invert` and :func:`exponentiate` others of it; :func:`warp_scan`
moves images and masks, :func:`warp_points` points. What it does to volumes is told by
:func:`jacobian_determinant`, :func:`folds`, :func:`sd_log_jacobian` and :func:`strain`.
:func:`write_warp` and :func:`read_warp` exchange warps with ITK, SimpleITK and ANTs.

:func:`register` finds the warp of a pair of images, from rigid to diffeomorphic, by any of the
losses of images against images (:func:`jaxmed.losses.lncc` and its like) and with
:func:`diffusion_energy`, :func:`bending_energy` or :func:`folding_energy` as penalty.
:func:`convex_adam` finds a field by discrete search first, which sees what is far.

:func:`track` follows tissue through the frames of a cine; :func:`strain_curves` (along
:func:`directions_about` a chamber), :func:`carry_mask` and :func:`carry_points` tell what comes of
it. :func:`template` finds the mean image of many, and the warps onto it.

:func:`voxelmorph`, :func:`lapirn` and :func:`linear_network` are networks that predict it, trained
on :func:`scan_pairs` by :func:`pair_objective`, with labels or without (a pyramid level by level,
:func:`lapirn_stages`, and on :func:`multiscale` similarities); :func:`predict_warp`
applies one to two scans, and a :class:`WarpModel` is one on disk.
"""

from jaxmed.registration.groups._template import Template, template
from jaxmed.registration.learning._lapirn import LapIRN, lapirn, lapirn_known, lapirn_stages
from jaxmed.registration.learning._linear import linear_network
from jaxmed.registration.learning._multiscale import multiscale
from jaxmed.registration.learning._objective import pair_objective
from jaxmed.registration.learning._pair_source import PairSource, scan_pairs
from jaxmed.registration.learning._predict import endpoint_warp, predict_warp
from jaxmed.registration.learning._voxelmorph import voxelmorph
from jaxmed.registration.learning._warp_model import WarpModel, load_warp_model, save_warp_model
from jaxmed.registration.motion._axes import Directions, directions_about
from jaxmed.registration.motion._carried import carry_mask, carry_points, strain_curves
from jaxmed.registration.motion._track import Tracked, track
from jaxmed.registration.pairs._convex import convex_adam
from jaxmed.registration.pairs._guided import guided, guided_scan
from jaxmed.registration.pairs._penalties import bending_energy, diffusion_energy, folding_energy
from jaxmed.registration.pairs._register import Registered, register
from jaxmed.registration.warps._files import read_warp, write_warp
from jaxmed.registration.warps._jacobian import (
    folds,
    jacobian,
    jacobian_determinant,
    sd_log_jacobian,
    strain,
)
from jaxmed.registration.warps._scan import centre_warp, warp_scan
from jaxmed.registration.warps._warp import (
    Warp,
    affine_warp,
    compose,
    displacement_warp,
    exponentiate,
    invert,
    velocity_warp,
    warp_points,
)

__all__ = [
    "Directions",
    "LapIRN",
    "PairSource",
    "Registered",
    "Template",
    "Tracked",
    "Warp",
    "WarpModel",
    "affine_warp",
    "bending_energy",
    "carry_mask",
    "carry_points",
    "centre_warp",
    "compose",
    "convex_adam",
    "diffusion_energy",
    "directions_about",
    "displacement_warp",
    "endpoint_warp",
    "exponentiate",
    "folding_energy",
    "folds",
    "guided",
    "guided_scan",
    "invert",
    "jacobian",
    "jacobian_determinant",
    "lapirn",
    "lapirn_known",
    "lapirn_stages",
    "linear_network",
    "load_warp_model",
    "multiscale",
    "pair_objective",
    "predict_warp",
    "read_warp",
    "register",
    "save_warp_model",
    "scan_pairs",
    "sd_log_jacobian",
    "strain",
    "strain_curves",
    "template",
    "track",
    "velocity_warp",
    "voxelmorph",
    "warp_points",
    "warp_scan",
    "write_warp",
]
