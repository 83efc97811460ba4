"""The plan of a segmentation: everything that training decides from the data, with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import jax
import numpy as np

from jaxmed.planning import _check as check
from jaxmed.planning._cost import multiplications
from jaxmed.planning._fingerprint import Fingerprint
from jaxmed.planning._stage import Budget, Stage, plan_slices, plan_stages

_CROPPED = 0.75  # Scans that lose a quarter by cutting zeros away are normalised inside.
_CT = ("ct", "hu", "hounsfield")
_SIDES = re.compile(r"(^|[^a-z])(left|right|l|r|lt|rt)([^a-z]|$)|^(left|right)|(left|right)$", re.I)

# Multiplications of a training, forward passes alone: what two cores of a CPU do in about half an
# hour, and what a GPU does in about two hours.
_WORK = {"cpu": 3.5e13, "other": 2.5e16}

_WHOLE = 30  # Masks, all of one piece, after which one with more is rare: below a tenth.
_THIN = 3  # A patch so many times thinner along one axis is turned about that axis alone.

_SLICE_SCALE = (0.7, 1.4)  # nnU-Net's.

#: nnU-Net's names: slices one by one; volumes; volumes at a coarse voxel size; and volumes with
#: what a coarse network found in them as further channels.
Configuration = Literal["2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"]


@dataclass(frozen=True)
class SegmentationPlan:
    """How a data set of scans is segmented; `plan_segmentation` makes it, and people may edit it.

    Attributes:
        classes: names, the background first.
        channels: names of the image's channels.
        regions: overlapping structures, ``{name: classes}``; empty if classes exclude each other.
        region_order: the class that each region writes.
        normalisation: ``"zscore"`` by scan; ``"fixed"``, by the data set's ``intensities``, for
            CT; ``"linear"``, for pictures.
        over: whether the statistics are of ``"all"`` voxels or of the ``"nonzero"`` ones, to which
            scans are then cut.
        intensities: ``(low, high, mean, sd)`` of each channel, for ``"fixed"``.
        full: patch, network and batch of what is trained; of a cascade, of its second network.
        low: those of a coarse network that could go before, and in a cascade does, or None.
        configuration: which of nnU-Net's networks it is.
        steps: of training each network.
        ended: steps at which a finished training ended, which then went on: there the learning rate
            begins anew.
        learning_rate: at the start; it falls to 0 as (1 - t)^0.9.
        average: decay of the averaged parameters.
        mirror: spatial axes along which patches are mirrored, in training and prediction.
        rotation: largest angle of the augmentation, in degrees: one for pictures, of volumes one
            about each axis.
        rotated: share of patches that are rotated.
        scale: least and greatest factor of size of the augmentation.
        one_piece: whether of all that is found in an image the largest connected piece is kept.
        foreground: share of patches that are centred on a structure.
        dice_over: whether the Dice loss is of each patch (``"case"``) or of all of a step together.
        why: the reason for each choice.
    """

    classes: tuple[str, ...]
    channels: tuple[str, ...]
    normalisation: Literal["zscore", "fixed", "linear"]
    over: Literal["all", "nonzero"]
    full: Stage
    low: Stage | None = None
    configuration: Configuration = "3d_fullres"
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    region_order: tuple[int, ...] = ()
    intensities: tuple[tuple[float, float, float, float], ...] = ()
    steps: int = 1000
    ended: tuple[int, ...] = ()
    learning_rate: float = 2e-3
    average: float = 0.995
    mirror: tuple[int, ...] = ()
    rotation: tuple[float, ...] = (15.0,)
    rotated: float = 1.0
    scale: tuple[float, float] = (0.85, 1.15)
    one_piece: bool = False
    foreground: float = 1 / 3
    dice_over: Literal["case", "batch"] = "case"
    why: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training can follow.

        Raises:
            ValueError: names the field.
        """
        check.some("classes", self.classes, 2)
        check.some("channels", self.channels, 1)
        rank = len(self.full.spacing)
        if self.low is not None:
            check.length("low.spacing", self.low.spacing, rank, "axes at full resolution")
        for name, values in self.regions.items():
            if not values or not set(values) <= {*range(1, len(self.classes))}:
                raise ValueError(
                    f"regions.{name} lists classes from 1 to {len(self.classes) - 1}, got "
                    f"{list(values)}"
                )
        if self.regions:
            check.length("region_order", self.region_order, len(self.regions), "regions")
        if self.normalisation == "fixed":
            check.length("intensities", self.intensities, len(self.channels), "channels")
        for low, high, _, deviation in self.intensities:
            check.above("a deviation of intensities", deviation)
            check.above("the upper end of intensities", high, low)
        check.at_least("steps", self.steps, 1)
        check.ends("ended", self.ended, self.steps)
        check.above("learning_rate", self.learning_rate)
        check.between("average", self.average, 0, 1, below=True)
        check.axes("mirror", self.mirror, rank)
        for angle in self.rotation:
            check.between("an angle of rotation", angle, 0, 180)
        check.between("rotated", self.rotated, 0, 1)
        check.above("the least scale", self.scale[0])
        check.above("the greatest scale", self.scale[1], self.scale[0])
        check.between("foreground", self.foreground, 0, 1)

    @property
    def outputs(self) -> int:
        """Channels of the network's output."""
        return len(self.regions) or len(self.classes)


def device_budget(
    memory_gb: float | None = None,
    block: Literal["plain", "residual"] = "plain",
    platform: str | None = None,
) -> Budget:
    """The budget of the device at hand.

    On a CPU a network is half as wide, planned for a quarter GB, and a step has two patches of
    volumes or four pictures, since time is short before memory is: of the same work, more and
    smaller steps learn more. Elsewhere
    it is nnU-Net's own, 8 GB, for which its figures are published.

    Args:
        memory_gb: in place of the device's.
        block: as in `Budget`.
        platform: ``"cpu"``, ``"gpu"`` or ``"tpu"``; by default JAX's own.

    Raises:
        ValueError: no memory.
    """
    cpu = (platform or jax.default_backend()) == "cpu"
    if memory_gb is not None and not memory_gb > 0:
        raise ValueError(f"memory_gb is a number above 0, got {memory_gb}")
    return Budget(
        memory_gb=memory_gb or (0.25 if cpu else 8.0),
        block=block,
        features=16 if cpu else 32,
        covered=1.0 if block == "residual" else 0.05,
        batch=2 if cpu else None,
    )


def plan_segmentation(
    found: Fingerprint,
    *,
    budget: Budget | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    region_order: Sequence[int] = (),
    spacing: Sequence[float] | None = None,
    configuration: Configuration | None = None,
    steps: int | None = None,
    platform: str | None = None,
) -> SegmentationPlan:
    """Plan a segmentation from what the data are like.

    Voxel size, patch, batch, depth and width of the U-Net, and whether a coarse stage goes before,
    follow nnU-Net version 2; how long to train follows from the work of a step and from the device.

    Args:
        found: the data, as `fingerprint` describes them.
        budget: how large the network may be; by default the device's, `device_budget`.
        regions: overlapping structures of the masks.
        region_order: the class that each of them writes.
        spacing: voxel size, in place of the data's median.
        configuration: by default ``"2d"`` for pictures and ``"3d_fullres"`` for volumes.
        steps: of training, in place of the device's.
        platform: as in `device_budget`.

    Returns:
        The plan.

    Raises:
        ValueError: a configuration of volumes for pictures, or a coarse one where none is worth
            having.

    References:
        Isensee et al. nnU-Net: a self-configuring method for deep learning-based biomedical image
        segmentation. Nature Methods 18:203, 2021.
    """
    platform = platform or jax.default_backend()
    budget = budget or device_budget(platform=platform)
    regions = {name: tuple(values) for name, values in (regions or {}).items()}
    outputs = len(regions) or len(found.classes)
    kind = configuration or ("2d" if found.rank == 2 else "3d_fullres")
    full, low = _stages(found, kind, outputs, budget, spacing)
    why = _reasons_of_stages(found, full, low, budget, kind, spacing is not None)
    normalisation, why["normalisation"] = _normalisation(found)
    over, why["over"] = _over(found, normalisation)
    mirror, why["mirror"] = _mirror(found)
    if steps is None:
        channels = len(found.channels)
        if kind == "3d_cascade_fullres":
            channels += len(found.classes) - 1
        work = full.batch * multiplications(full.network, full.patch, channels, outputs)
        limit = _WORK["cpu" if platform == "cpu" else "other"]
        steps = max(200, min(round(limit / work / 50) * 50, 50_000))
        why["steps"] = (
            f"{work:.2g} multiplications a step, and {limit:.1g} of a training on this kind of "
            f"device ({platform}); --steps changes it"
        )
    else:
        why["steps"] = "as given"
    absent = [name for name, n in zip(found.classes[1:], found.present) if n == 0]
    if absent:
        why["classes"] = f"no mask marks {', '.join(map(repr, absent))}: it cannot be learned"
    rotation, rotated, why["rotation"] = _rotation(full.patch, mirror)
    scale = _SLICE_SCALE if kind == "2d" and found.rank == 3 else SegmentationPlan.scale
    why["scale"] = (
        "as nnU-Net's: slices are many, and fields of view differ"
        if scale == _SLICE_SCALE
        else "patients differ a little in size"
    )
    one_piece = found.one_piece >= _WHOLE
    if one_piece:
        why["one_piece"] = f"what each of {found.one_piece} masks marks is one piece"
    dice_over: Literal["case", "batch"] = "batch" if kind == "2d" else "case"
    why["dice_over"] = (
        "many slices lack a structure, and alone would not tell where it is painted in vain"
        if kind == "2d"
        else "a patch of a volume mostly holds something of each structure"
    )
    return SegmentationPlan(
        classes=found.classes,
        channels=found.channels,
        normalisation=normalisation,
        over=over,
        full=full,
        low=low,
        configuration=kind,
        regions=regions,
        region_order=tuple(region_order),
        intensities=tuple((i.low, i.high, i.mean, i.sd) for i in found.intensities)
        if normalisation == "fixed"
        else (),
        steps=steps,
        mirror=mirror,
        rotation=rotation,
        rotated=rotated,
        scale=scale,
        one_piece=one_piece,
        dice_over=dice_over,
        why=why,
    )


def _stages(
    found: Fingerprint,
    kind: Configuration,
    outputs: int,
    budget: Budget,
    spacing: Sequence[float] | None,
) -> tuple[Stage, Stage | None]:
    """The stage to train, and the coarse one that may go before."""
    if found.rank == 2 and kind != "2d":
        raise ValueError(f"{kind} is for volumes, and these are pictures: their network is 2d")
    if found.rank == 3 and kind == "2d":
        return plan_slices(
            found.spacings, found.shapes, outputs=outputs, budget=budget, spacing=spacing
        ), None
    full, low = plan_stages(
        found.spacings, found.shapes, outputs=outputs, budget=budget, spacing=spacing
    )
    if kind not in ("3d_lowres", "3d_cascade_fullres"):
        return full, low
    if low is None:
        raise ValueError(
            f"{kind} needs a coarse network, which these scans do not: a patch of "
            f"{' x '.join(map(str, full.patch))} sees enough of the median scan "
            f"({' x '.join(map(str, full.median_shape))}), so take 3d_fullres"
        )
    return (low, None) if kind == "3d_lowres" else (full, low)


def _reasons_of_stages(
    found: Fingerprint,
    full: Stage,
    low: Stage | None,
    budget: Budget,
    kind: Configuration,
    given: bool,
) -> dict[str, str]:
    shape = " x ".join(map(str, full.median_shape))
    gap = " x ".join(f"{s:.4g}" for s in full.spacing if s)
    seen = [min(p / m, 1.0) for p, m, s in zip(full.patch, full.median_shape, full.spacing) if s]
    share = math.prod(seen)
    why = {
        "spacing": "as given" if given else (
            f"the median of {found.cases} scans (of a coarse axis the tenth percentile): {gap} mm, "
            f"at which the median scan is {shape}"
        ),
        "patch": (
            f"the largest of that aspect of which {full.batch} fit {budget.memory_gb:g} GB by "
            f"nnU-Net's estimate, at {budget.features} channels; it sees {100 * share:.0f} % of "
            f"the median {'scan' if len(seen) == len(full.spacing) else 'slice'}"
        ),
        "network": (
            f"axes are halved while they keep 4 voxels, the finest first; {budget.block} encoder, "
            "channels double from stage to stage"
        ),
    }  # fmt: skip
    if kind == "3d_lowres":
        why["spacing"] = f"{gap} mm, at which a patch sees a quarter of the median scan ({shape})"
    elif kind != "2d":
        why["low"] = (
            "a patch sees enough of a scan (a quarter), or a coarser stage would save too little"
            if low is None
            else f"a patch sees {100 * share:.0f} % of the median scan, so a network at "
            f"{' x '.join(f'{s:.3g}' for s in low.spacing)} mm "
            + (
                "goes before"
                if kind == "3d_cascade_fullres"
                else "may go before (3d_lowres alone, 3d_cascade_fullres both)"
            )
        )
    return why


def _normalisation(found: Fingerprint) -> tuple[Literal["zscore", "fixed", "linear"], str]:
    if any(name.casefold().strip() in _CT for name in found.channels):
        return "fixed", (
            "CT numbers mean the same in every scan: cut to the percentiles 0.5 and 99.5 of the "
            "structures, then by their mean and deviation"
        )
    if found.unit_range and found.rank == 2:
        return "zscore", "pictures of their own exposure: mean 0 and deviation 1 of each channel"
    return "zscore", "intensities have no unit: mean 0 and deviation 1 of each scan's channel"


def _over(found: Fingerprint, normalisation: str) -> tuple[Literal["all", "nonzero"], str]:
    if normalisation == "zscore" and found.rank == 3 and found.kept < _CROPPED:
        return "nonzero", (
            f"the surroundings are 0 (scans keep {100 * found.kept:.0f} % when they are cut away), "
            "so statistics are of what is inside"
        )
    return "all", f"scans keep {100 * found.kept:.0f} % of their voxels when zeros are cut away"


def _rotation(patch: Sequence[int], mirror: Sequence[int]) -> tuple[tuple[float, ...], float, str]:
    """Largest angles, the share of patches that are rotated, and the reason."""
    if len(patch) == 2:
        if len(mirror) == 2:
            return (180.0,), 1.0, "any angle, as a picture has no upright"
        return (15.0,), 1.0, "a patient lies a little askew"
    thin = int(np.argmin(patch))
    if max(patch) <= _THIN * patch[thin]:
        return (15.0,) * 3, 1.0, "a patient lies a little askew"
    where = "in the plane of the slices alone, between which much is unknown"
    # A half turn in the plane exchanges the sides, as mirroring does.
    if not mirror:
        angle, rotated, how = 15.0, 1.0, "a little, as classes name a side"
    else:
        angle, rotated = 180.0, 0.5
        how = "half of the patches by any angle, the others not, as most patients lie alike"
    return tuple(angle if a == thin else 0.0 for a in range(3)), rotated, f"{how}, {where}"


def _mirror(found: Fingerprint) -> tuple[tuple[int, ...], str]:
    sided = [name for name in found.classes if _SIDES.search(name)]
    if found.rank == 2:
        if sided:
            return (0,), f"classes name a side ({sided[0]!r}), so pictures keep left and right"
        return (0, 1), "a picture has no upright; edit mirror where sides matter"
    if sided:
        return (), f"classes name a side ({sided[0]!r}), so scans keep left and right"
    return (0,), "left and right alone: no class names a side"
