"""The voxel size, patch, network and batch of one resolution, by nnU-Net's published rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jaxmed.networks import UNetPlan, plan_unet
from jaxmed.planning import _check as check
from jaxmed.planning._cost import feature_map_size, per_axis

_ANISOTROPIC = 3  # An axis is coarse from this many times the spacing of the others.
_COVERED = 0.05  # Share of all voxels of a data set that one batch may hold.
_MIN_BATCH = 2
_STEP = 1.03  # Factor by which the spacing of a coarser stage grows until it fits.
_LOW = 0.25  # A patch that sees less of the median scan asks for a coarser stage before it.


@dataclass(frozen=True)
class Budget:
    """How large a network may be: nnU-Net's reference for 8 GB of a GPU's memory, scaled.

    Attributes:
        memory_gb: memory that training may take.
        block: encoder: ``"plain"`` convolutions or ``"residual"`` blocks.
        features: channels of the finest stage.
        covered: share of all voxels that one batch may hold.
        batch: most patches of a step, twice as many of pictures and slices, or None for as many as
            fit.
    """

    memory_gb: float = 8.0
    block: Literal["plain", "residual"] = "plain"
    features: int = 32
    covered: float = _COVERED
    batch: int | None = None

    def reference(self, rank: int) -> tuple[float, int]:
        """Feature maps that fit, and for how many patches nnU-Net measured that."""
        plain = self.block == "plain"
        if rank == 3:
            values, batch = (560_000_000 if plain else 680_000_000), 2
        else:
            values, batch = (85_000_000 if plain else 135_000_000), 12
        return values * self.memory_gb / 8, batch


@dataclass(frozen=True)
class Stage:
    """One resolution of a plan.

    Attributes:
        spacing: voxel edge lengths to which scans are brought, in millimetres; 0 along an axis
            that is left as it is.
        median_shape: voxels of the median scan at that spacing.
        patch: voxels that the network sees at once.
        batch: patches of a step.
        network: the U-Net.
    """

    spacing: tuple[float, ...]
    median_shape: tuple[int, ...]
    patch: tuple[int, ...]
    batch: int
    network: UNetPlan

    def __post_init__(self) -> None:
        """Refuse what no network can be trained on.

        Raises:
            ValueError: names the field.
        """
        rank = len(self.spacing)
        check.between("the length of spacing", rank, 1, 3)
        check.length("patch", self.patch, rank, "axes of spacing")
        check.length("median_shape", self.median_shape, rank, "axes of spacing")
        for edge in self.spacing:
            check.at_least("an edge of spacing", edge, 0)
        check.above("the largest edge of spacing", max(self.spacing))
        check.at_least("batch", self.batch, 1)
        for axis, (side, step) in enumerate(
            zip(self.patch, _divisor(self.network, rank), strict=True)
        ):
            if side < 1 or side % step:
                raise ValueError(
                    f"patch[{axis}] is a multiple of {step}, by which the network's strides divide "
                    f"it, got {side}"
                )


def target_spacing(
    spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]
) -> tuple[float, ...]:
    """Choose the voxel size of a data set: the median, and a finer one for a coarse axis.

    An axis whose median spacing is over three times that of the others, and which has under a
    third of their voxels, takes the tenth percentile of its spacings, but no less than the others'.

    Args:
        spacings: of each scan, in millimetres.
        shapes: voxels of each scan.

    >>> target_spacing([(1, 1, 5), (1, 1, 6), (1, 1, 10)], [(200, 200, 20)] * 3)
    (1.0, 1.0, 5.2)
    """
    every, sizes = np.asarray(spacings, float), np.asarray(shapes, float)
    target, size = np.percentile(every, 50, axis=0), np.percentile(sizes, 50, axis=0)
    if len(target) < 3:
        return tuple(float(s) for s in target)
    worst = int(np.argmax(target))
    others = [axis for axis in range(len(target)) if axis != worst]
    coarse = target[worst] > _ANISOTROPIC * max(target[others])
    thin = size[worst] * _ANISOTROPIC < min(size[others])
    if coarse and thin:
        finer = float(np.percentile(every[:, worst], 10))
        if finer < max(target[others]):
            finer = float(max(target[others])) + 1e-5
        target[worst] = finer
    return tuple(float(s) for s in target)


def new_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, ...]:
    """Voxels of a scan once it is brought to another spacing."""
    return tuple(round(n * s / t) for n, s, t in zip(shape, spacing, target, strict=True))


def plan_stage(
    spacing: Sequence[float],
    median_shape: Sequence[float] | np.ndarray,
    voxels: float,
    *,
    outputs: int,
    budget: Budget,
) -> Stage:
    """Choose patch, network and batch for one spacing.

    The patch begins with the aspect of the spacing and at most the median scan, and shrinks along
    the axis that is largest in relation to the scan until two patches fit the memory; what is left
    of the memory makes the batch larger, up to a twentieth of the data set's voxels.

    Args:
        spacing: voxel edge lengths.
        median_shape: voxels of the median scan at that spacing.
        voxels: of all scans together.
        outputs: channels of the network's output.
        budget: what it may take.

    Raises:
        ValueError: scans of fewer than 8 voxels along every axis, which no U-Net can halve, or a
            budget that no patch fits.

    References:
        Isensee et al. nnU-Net. Nature Methods 18:203, 2021; and its version 2's planner.
    """
    rank = len(spacing)
    # The coarsest axis first, as nnU-Net has it: the order decides which of two equal axes shrinks.
    coarsest = int(np.argmax(spacing))
    order = [coarsest, *(axis for axis in range(rank) if axis != coarsest)] if rank == 3 else None
    order = order or [*range(rank)]
    gaps = [float(spacing[axis]) for axis in order]
    median = [float(median_shape[axis]) for axis in order]
    reference, reference_batch = budget.reference(rank)

    def planned(size: Sequence[int]) -> UNetPlan:
        return plan_unet(size, gaps, block=budget.block, base_features=budget.features)

    def estimate(network: UNetPlan) -> float:
        return feature_map_size(network, _patch(network), outputs)

    inverse = 1 / np.asarray(gaps)
    side = {3: 256.0**3}.get(rank, 2048.0**2)
    first = inverse * (side / math.prod(inverse)) ** (1 / rank)
    shape = " x ".join(f"{float(n):g}" for n in median_shape)
    try:
        network = planned(
            [max(1, int(min(round(p), m))) for p, m in zip(first, median, strict=True)]
        )
    except ValueError as error:
        raise ValueError(
            f"the median scan has {shape} voxels of {' x '.join(f'{s:.4g}' for s in spacing)} mm, "
            f"which no U-Net can halve: {error}"
        ) from error

    def smaller(axis: int, size: Sequence[int], step: Sequence[int]) -> UNetPlan | None:
        """The network of a patch that is shorter along an axis, if there is one."""
        trial = [*size]
        trial[axis] -= step[axis]
        try:
            return planned(trial) if trial[axis] > 0 else None
        except ValueError:
            return None

    # Its planner of residual encoders shrinks until the whole reference batch fits.
    least = _MIN_BATCH if budget.block == "plain" else reference_batch
    while estimate(network) / reference_batch * least > reference:
        patch, step = [*_patch(network)], _divisor(network, rank)
        by_share = np.argsort([p / m for p, m in zip(patch, median, strict=True)])[::-1]
        tried = ((int(axis), smaller(int(axis), patch, step)) for axis in by_share)
        axis, trial = next(((a, found) for a, found in tried if found is not None), (0, None))
        if trial is None:
            raise ValueError(
                f"no U-Net of {budget.features} channels and {outputs} outputs fits "
                f"{budget.memory_gb:g} GB: one of patches of {' x '.join(map(str, patch))} does "
                "not, and smaller ones cannot be halved; plan for more memory"
            )
        # Subtracting the whole stride could skip sizes that are valid with one halving less.
        patch[axis] -= _divisor(trial, rank)[axis]
        network = planned(patch)
    patch = _patch(network)
    size = round(reference / estimate(network) * reference_batch)
    limit = round(voxels * budget.covered / math.prod(patch))
    if budget.batch is not None:
        limit = min(limit, budget.batch * (2 if rank == 2 else 1))
    back = [order.index(axis) for axis in range(rank)]
    return Stage(
        spacing=tuple(float(s) for s in spacing),
        median_shape=tuple(round(float(n)) for n in median_shape),
        patch=tuple(patch[axis] for axis in back),
        batch=max(min(size, limit), _MIN_BATCH),
        network=_reordered(network, back),
    )


def plan_stages(
    spacings: Sequence[Sequence[float]],
    shapes: Sequence[Sequence[int]],
    *,
    outputs: int,
    budget: Budget,
    spacing: Sequence[float] | None = None,
) -> tuple[Stage, Stage | None]:
    """Plan the full resolution of a data set, and the low one of a cascade if it is worth having.

    If a patch sees under a quarter of the median scan, the spacing of a coarser stage grows by
    steps of 3 %, the finest axes first, until one does. A stage with over half of the voxels of
    the full one is not worth its time, and is left out.

    Args:
        spacings: of each scan, in millimetres.
        shapes: voxels of each scan.
        outputs: channels of the network's output.
        budget: what a network may take.
        spacing: in place of `target_spacing`.

    Returns:
        The full stage and the low one, or None.
    """
    chosen, median = _median_scan(spacings, shapes, spacing)
    total = float(median.prod()) * len(shapes)
    full = plan_stage(chosen, median, total, outputs=outputs, budget=budget)
    if len(chosen) < 3:
        return full, None
    gap, low = np.asarray(chosen, float), None
    voxels, seen = float(median.prod()), math.prod(full.patch)
    while seen / voxels < _LOW:
        finer = gap.max() / gap > 2
        gap = np.where(finer, gap * _STEP, gap) if finer.any() else gap * _STEP
        size = np.asarray(chosen) / gap * median
        voxels = float(size.prod())
        try:
            low = plan_stage(
                gap.tolist(),
                np.maximum(np.rint(size), 1),
                voxels * len(shapes),
                outputs=outputs,
                budget=budget,
            )
        except ValueError:  # coarser than a network can halve
            low = None
            break
        seen = math.prod(low.patch)
    return full, None if low is None or median.prod() / voxels < 2 else low


def plan_slices(
    spacings: Sequence[Sequence[float]],
    shapes: Sequence[Sequence[int]],
    *,
    outputs: int,
    budget: Budget,
    spacing: Sequence[float] | None = None,
) -> Stage:
    """Plan a network of the slices of volumes: nnU-Net's 2D configuration.

    Slices stand across the coarsest axis, of equal ones that of the fewest voxels. The network is
    one of volumes with patches, kernels and strides of 1 along that axis, which is not resampled.

    Args:
        spacings: of each volume, in millimetres.
        shapes: voxels of each volume.
        outputs: channels of the network's output.
        budget: what the network may take.
        spacing: in place of `target_spacing`.

    Returns:
        The stage, of three axes.

    >>> stage = plan_slices([(1, 1, 8)], [(200, 180, 9)], outputs=2, budget=Budget(1.0))
    >>> stage.patch, stage.spacing, stage.network.kernels[0]
    ((224, 192, 1), (1.0, 1.0, 0.0), (3, 3, 1))
    """
    chosen, median = _median_scan(spacings, shapes, spacing)
    across = min(range(3), key=lambda a: (-round(chosen[a] / max(chosen), 2), median[a]))
    plane = [axis for axis in range(3) if axis != across]
    voxels = float(median.prod()) * len(shapes)
    flat = plan_stage(
        [chosen[a] for a in plane], median[plane], voxels, outputs=outputs, budget=budget
    )

    def widened(values: Sequence[int], one: int = 1) -> tuple[int, ...]:
        found = [*values]
        found.insert(across, one)
        return tuple(found)

    def each(values: Sequence[int | tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        return tuple(widened(per_axis(value, 2)) for value in values)

    gaps = [*flat.spacing]
    gaps.insert(across, 0.0)
    return Stage(
        spacing=tuple(gaps),
        median_shape=widened(flat.median_shape, round(float(median[across]))),
        patch=widened(flat.patch),
        batch=flat.batch,
        network=replace(
            flat.network,
            strides=each(flat.network.strides),
            kernels=each(flat.network.kernels),
            patch_size=widened(flat.patch),
        ),
    )


def _median_scan(
    spacings: Sequence[Sequence[float]],
    shapes: Sequence[Sequence[int]],
    spacing: Sequence[float] | None,
) -> tuple[tuple[float, ...], np.ndarray]:
    """The spacing to which scans are brought, given or chosen, and the median shape there."""
    chosen = tuple(spacing) if spacing is not None else target_spacing(spacings, shapes)
    sizes = [new_shape(n, s, chosen) for n, s in zip(shapes, spacings, strict=True)]
    return chosen, np.maximum(np.median(np.asarray(sizes, float), axis=0), 1)


def _patch(network: UNetPlan) -> tuple[int, ...]:
    assert network.patch_size is not None  # plan_unet names it
    return network.patch_size


def _divisor(network: UNetPlan, rank: int) -> list[int]:
    return [math.prod(per_axis(s, rank)[axis] for s in network.strides) for axis in range(rank)]


def _reordered(network: UNetPlan, order: Sequence[int]) -> UNetPlan:
    """The network with its axes in another order."""
    rank = len(order)

    def turned(values: Sequence[int | tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(per_axis(value, rank)[axis] for axis in order) for value in values)

    return replace(
        network,
        strides=turned(network.strides),
        kernels=turned(network.kernels),
        patch_size=tuple(_patch(network)[axis] for axis in order),
    )
