"""The plan of a network that tells touching objects apart, each choice with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jaxmed.networks import UNetPlan, plan_unet
from jaxmed.planning import _check as check

Form = Literal["stars", "flows", "depths"]

_PATCH = {2: 128, 3: 64}
_THICK = 3.0  # Of slices thicker than this in pixels, nothing is turned out of its plane.


@dataclass(frozen=True)
class InstancePlan:
    """How objects are told apart; `plan_instances` makes it, and people may edit it.

    Attributes:
        channels: names of the image's channels.
        spacing: voxel edge lengths of volumes, None of pictures.
        form: what the network says of each voxel.
        rays: of a star.
        size: radius of a usual object, in voxels of pictures, in the unit of spacing of volumes.
        most: objects of an image, at most.
        network: the U-Net.
        patch: its input.
        batch: patches of a step.
        steps: of each training.
        learning_rate: of AdamW, rising over a twentieth of the steps, then falling to 0.
        rotation: largest angle of augmentation about each axis, in degrees.
        scale: largest magnification of augmentation, and the inverse of the smallest.
        mirror: spatial axes along which patches are mirrored.
        test_mirror: axes over whose mirror images what is said is averaged.
        threshold: probability from which on a voxel is an object's; None: chosen on images that are
            trained on.
        smallest: voxels of the smallest object.
        why: the reason for each choice.
    """

    channels: tuple[str, ...]
    spacing: tuple[float, ...] | None
    form: Form
    rays: int
    size: float
    most: int
    network: UNetPlan
    patch: tuple[int, ...]
    batch: int = 4
    steps: int = 1200
    learning_rate: float = 2e-3
    rotation: tuple[float, ...] = (180.0,)
    scale: float = 1.25
    mirror: tuple[int, ...] = ()
    test_mirror: tuple[int, ...] = ()
    threshold: float | None = None
    smallest: int = 15
    why: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no training can follow.

        Raises:
            ValueError: names the field.
        """
        rank = len(self.patch)
        check.some("channels", self.channels, 1)
        check.between("the length of patch", rank, 2, 3)
        for side in self.patch:
            check.at_least("a side of patch", side, 1)
        if self.spacing is not None:
            check.length("spacing", self.spacing, rank, "axes")
        check.length("rotation", self.rotation, 1 if rank == 2 else 3, "axes to be turned about")
        for angle in self.rotation:
            check.between("an angle of rotation", angle, 0, 180)
        check.at_least("rays", self.rays, 4)
        check.above("size", self.size)
        for name in ("most", "batch", "steps"):
            check.at_least(name, getattr(self, name), 1)
        check.above("learning_rate", self.learning_rate)
        check.at_least("scale", self.scale, 1)
        check.axes("mirror", self.mirror, rank)
        check.axes("test_mirror", self.test_mirror, rank)
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"threshold is a probability between 0 and 1, got {self.threshold}")
        check.at_least("smallest", self.smallest, 0)


def plan_instances(
    *,
    channels: int,
    shape: Sequence[int],
    spacing: Sequence[float] | None,
    radius: float,
    most: int,
    form: Form = "stars",
    rays: int | None = None,
    patch: int | None = None,
    features: int = 24,
    rotation: float = 180.0,
    mirror: bool = True,
    test_mirror: bool = False,
    **options: Any,
) -> InstancePlan:
    """Plan a network that tells objects apart.

    Args:
        channels: of the images.
        shape: spatial size that holds every image; a patch is hardly larger.
        spacing: voxel edge lengths of volumes, None of pictures.
        radius: of a usual object, as `size` of the plan.
        most: objects in an image, at most.
        form: what the network says.
        rays: of a star; 32 of pictures and 96 of volumes by default.
        patch: longest edge of a patch; 128 of pictures and 64 of volumes by default.
        features: channels of the first stage; the coarsest have 8 times as many.
        rotation: largest angle of augmentation, in degrees.
        mirror: whether patches are mirrored.
        test_mirror: whether what is said is averaged over mirror images.
        **options: further fields of the plan, as they are given.

    Returns:
        The plan.

    Raises:
        ValueError: a field that cannot be.

    Examples:
        >>> plan = plan_instances(
        ...     channels=1, shape=(256, 256), spacing=None, radius=9.0, most=50, patch=64
        ... )
        >>> plan.patch, plan.rays, plan.why["patch"]
        ((64, 64), 32, 'given')
    """
    rank = len(shape)
    why = dict.fromkeys(options, "given")
    edge = patch or _PATCH[rank]
    why["patch"] = "given" if patch else f"the usual edge; objects are of a radius of {radius:.0f}"
    why["form"] = "star-convex objects" if form == "stars" else "as given"
    why["rays"] = "given" if rays else f"the usual number of {rank} axes"
    why["size"] = "the median over the objects that are trained on"
    why["most"] = "no image that is trained on holds more"
    edges = [min(edge, -(-n // 8) * 8) for n in shape]
    if min(edges) < edge:
        why["patch"] += "; no larger than the images"
    network = plan_unet(edges, spacing, base_features=features, max_features=8 * features)
    why["network"] = "halved until few voxels are left, axes of thick slices later"
    turned = [rotation] if rank == 2 else [rotation] * 3
    if spacing is not None and max(spacing) > _THICK * min(spacing):
        turned = [rotation if s == max(spacing) else 0.0 for s in spacing]
        why["rotation"] = "slices are thick: nothing is turned out of their plane"
    every = tuple(range(rank))
    return InstancePlan(
        channels=("red", "green", "blue") if channels == 3 else tuple(map(str, range(channels))),
        spacing=None if spacing is None else tuple(float(s) for s in spacing),
        form=form, rays=rays or (32 if rank == 2 else 96), size=float(radius), most=max(most, 1),
        network=network, patch=tuple(int(n) for n in network.patch_size or edges),
        rotation=tuple(np.asarray(turned, float).tolist()), mirror=every if mirror else (),
        test_mirror=every if test_mirror else (), why=why, **options,
    )  # fmt: skip
