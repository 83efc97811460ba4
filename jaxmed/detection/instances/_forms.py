"""What a network says of each voxel so that objects can be told apart, and how it learns that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid, softplus
from numpy.typing import ArrayLike, NDArray

from jaxmed.core import Array
from jaxmed.detection.instances._flows import follow_flows, label_flows
from jaxmed.detection.instances._star_shapes import find_stars
from jaxmed.detection.instances._stars import star_distances, star_rays
from jaxmed.detection.instances._watershed import part_touching, renumbered
from jaxmed.losses._inputs import known, mean_known

# Weight of the distances beside the probability, and of distances in the background: StarDist's.
_REACH, _NOWHERE = 0.2, 1e-4
# By which Cellpose's network multiplies flows, so that their error counts.
_FLOW = 5.0


@dataclasses.dataclass(frozen=True)
class InstanceForm:
    """How objects are written as maps that a network can learn, and read again from these.

    A form is a loss ``(outputs, targets, where=) -> (batch,)`` of logits and label maps, so that
    ``supervised(form, target="instances")`` trains any network of :attr:`channels` outputs a voxel.
    Targets are computed from the label maps on the device, after these were augmented.

    Attributes:
        kind: ``"stars"``, the depth within the object and its reach along rays; ``"flows"``, the
            way to its middle; ``"depths"``, what is inside and how deep, for a watershed.
        rank: number of spatial axes.
        rays: number of rays of a star.
        size: typical radius of an object in voxels, by which the reach is scaled.
        spacing: voxel edges, where they differ: stars are round in millimetres.
        steps: voxels of the longest way along a flow.
        most: the largest number of an object in a label map; for a larger one the loss is NaN.
    """

    kind: Literal["stars", "flows", "depths"] = "stars"
    rank: int = 2
    rays: int = 32
    size: float = 10.0
    spacing: tuple[float, ...] | None = None
    steps: int = 200
    most: int = 4096

    def __post_init__(self) -> None:
        if self.kind not in ("stars", "flows", "depths"):
            raise ValueError(f"kind is stars, flows or depths, got {self.kind!r}")
        if not (self.size > 0 and self.steps > 0 and self.most > 0):
            raise ValueError(
                f"size, steps and most are positive, got {self.size}, {self.steps}, {self.most}"
            )
        self.directions()

    @property
    def channels(self) -> int:
        """Outputs a voxel that a network of this form has."""
        return {"stars": 1 + self.rays, "flows": 1 + self.rank, "depths": 2}[self.kind]

    def directions(self) -> NDArray[np.float64]:
        """The rays, (count, rank); where no star is asked for, those by which depth is measured."""
        count = self.rays if self.kind == "stars" else 16 * (self.rank - 1)
        return star_rays(count, rank=self.rank, spacing=self.spacing)

    def __call__(
        self,
        outputs: jax.typing.ArrayLike,
        targets: jax.typing.ArrayLike,
        *,
        where: jax.typing.ArrayLike | None = None,
    ) -> Array:
        """Compute the loss of each example.

        Args:
            outputs: ``(batch, *spatial, channels)``, logits.
            targets: ``(batch, *spatial)`` label maps, 0 the background.
            where: True where the labels are known, or a weight; ``(batch,)`` or
                ``(batch, *spatial)``.

        Returns:
            ``(batch,)`` in float32; 0 where nothing is known.

        Raises:
            ValueError: shapes that do not fit.
        """
        x, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)
        if labels.ndim == self.rank + 2 and labels.shape[-1] == 1:
            labels = labels[..., 0]
        if labels.ndim != self.rank + 1 or x.shape != (*labels.shape, self.channels):
            raise ValueError(
                f"{self.kind} of {self.rank} axes: outputs are (batch, *spatial, {self.channels}) "
                f"and targets (batch, *spatial), got {x.shape} and {labels.shape}"
            )
        weights = known(where, labels.shape)
        losses = {"stars": self._stars, "flows": self._flows, "depths": self._depths}
        value = losses[self.kind](x, labels, weights)
        wrong = (labels > self.most) | (labels < 0)
        if weights is not None:
            wrong = wrong & (weights > 0)
        return jnp.where(wrong.any(tuple(range(1, wrong.ndim))), jnp.nan, value)

    def _stars(self, x: Array, labels: Array, weights: Array | None) -> Array:
        reach, depth = jax.vmap(self._reach_and_depth)(labels)
        value = mean_known(_entropy(x[..., 0], depth), weights)
        apart = jnp.abs(self.size * softplus(x[..., 1:]) - reach).mean(-1)
        there = depth if weights is None else depth * weights
        nowhere = mean_known(jnp.where(labels > 0, 0, softplus(x[..., 1:]).mean(-1)), weights)
        return value + _REACH * _mean(apart, there) + _NOWHERE * nowhere

    def _flows(self, x: Array, labels: Array, weights: Array | None) -> Array:
        flows = jax.vmap(lambda one: label_flows(one, steps=self.steps, most=self.most))(labels)
        value = mean_known(_entropy(x[..., 0], (labels > 0).astype(x.dtype)), weights)
        apart = ((x[..., 1:] - _FLOW * flows) ** 2).mean(-1)
        return value + mean_known(apart, weights) / 2

    def _depths(self, x: Array, labels: Array, weights: Array | None) -> Array:
        depth = jax.vmap(self._reach_and_depth)(labels)[1]
        inside = (labels > 0).astype(x.dtype)
        both = _entropy(x[..., 0], inside) + _entropy(x[..., 1], depth)
        return mean_known(both, weights)

    def _reach_and_depth(self, labels: Array) -> tuple[Array, Array]:
        """Distances along the rays, and the shortest over the largest of these in the object."""
        reach = star_distances(labels, self.directions())
        short = reach.min(-1)
        largest = jax.ops.segment_max(short.ravel(), labels.ravel(), self.most + 1)
        most = jnp.maximum(largest, 1e-6)[jnp.clip(labels, 0, self.most)]
        return reach, jnp.where(labels > 0, short / most, 0)

    def mirrored(self, outputs: jax.typing.ArrayLike, axes: Sequence[int]) -> Array:
        """Turn back what was said of an image's mirror image.

        Args:
            outputs: ``(..., *spatial, channels)`` of the image mirrored along these axes.
            axes: spatial axes, from 0.

        Returns:
            Outputs of the image itself: voxels are mirrored, and so are rays and ways.

        Raises:
            ValueError: axes that are none, or rays of which the mirror images are none: an odd
                number of them in two axes, and all in three, which lie on a spiral.
        """
        x = jnp.asarray(outputs)
        if any(not 0 <= a < self.rank for a in axes) or len({*axes}) != len(axes):
            raise ValueError(f"axes are different ones of 0 to {self.rank - 1}, got {tuple(axes)}")
        x = jnp.flip(x, [a - self.rank - 1 for a in axes])
        signs = np.ones(self.rank)
        signs[list(axes)] = -1
        if self.kind == "flows":
            return x * jnp.asarray([1.0, *signs], x.dtype)
        if self.kind == "depths" or not len(axes):
            return x
        rays = self.directions()
        apart = np.abs((rays * signs)[:, None] - rays).max(-1)
        if apart.min(1).max() > 1e-6:
            raise ValueError(
                f"{self.rays} rays of {self.rank} axes are not their own mirror images: mirror "
                "stars of pictures with an even number of rays"
            )
        return x[..., np.concatenate([[0], 1 + apart.argmin(1)])]

    def find(
        self, outputs: ArrayLike, *, threshold: float = 0.5, overlap: float = 0.4,
        smallest: int = 15,
    ) -> NDArray[np.int32]:  # fmt: skip
        """Read the objects from a network's outputs of an image.

        Args:
            outputs: (*spatial, channels) logits.
            threshold: probability from which on a voxel is an object's; of stars, its middle's.
            overlap: as in :func:`find_stars`.
            smallest: objects of fewer voxels are left out.

        Returns:
            (*spatial) int32, 0 the background.

        Raises:
            ValueError: outputs of another shape, or that are not finite.
        """
        return self.find_at(outputs, (threshold,), overlap=overlap, smallest=smallest)[0]

    def find_at(
        self, outputs: ArrayLike, thresholds: Sequence[float], *, overlap: float = 0.4,
        smallest: int = 15,
    ) -> list[NDArray[np.int32]]:  # fmt: skip
        """Read the objects at each of several thresholds, as :meth:`find` does at one.

        Stars are chosen once, at the lowest: a surer star is never changed by a less sure one.

        Args:
            outputs: (*spatial, channels) logits.
            thresholds: probabilities.
            overlap: as in :func:`find_stars`.
            smallest: objects of fewer voxels are left out.

        Returns:
            For each threshold (*spatial) int32, 0 the background.

        Raises:
            ValueError: outputs of another shape, or that are not finite.
        """
        x = np.asarray(outputs, np.float32)
        if x.ndim != self.rank + 1 or x.shape[-1] != self.channels:
            raise ValueError(f"outputs are (*spatial, {self.channels}), got {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("outputs hold values that are not finite")
        first = np.asarray(sigmoid(x[..., 0]))
        if self.kind == "flows":
            return [self._followed(first >= t, x[..., 1:] / _FLOW, smallest) for t in thresholds]
        if self.kind == "depths":
            deep = np.asarray(sigmoid(x[..., 1]))
            return [
                part_touching(first >= t, deep, seed=0.5, smallest=smallest) for t in thresholds
            ]
        reach = self.size * np.asarray(softplus(x[..., 1:]))
        found = find_stars(
            first, reach, self.directions(), threshold=min(thresholds), overlap=overlap
        )
        counts = [int((found.scores >= t).sum()) for t in thresholds]
        return [renumbered(np.where(found.labels <= n, found.labels, 0), smallest) for n in counts]

    def _followed(self, inside: NDArray, ways: NDArray, smallest: int) -> NDArray[np.int32]:
        within = np.where(inside[..., None], ways, 0)
        return follow_flows(within, inside, steps=self.steps, smallest=smallest)


def _entropy(logits: Array, share: Array) -> Array:
    """Cross-entropy of a probability with a share, less the share's own: 0 where they agree."""
    own = jax.scipy.special.entr(share) + jax.scipy.special.entr(1 - share)
    return softplus(logits) - share * logits - own


def _mean(values: Array, weights: Array) -> Array:
    axes = tuple(range(1, values.ndim))
    total = weights.sum(axes)
    return (values * weights).sum(axes) / jnp.where(total > 0, total, 1)


def typical_radius(labels: Sequence[ArrayLike], spacing: Sequence[float] | None = None) -> float:
    """Median radius of the balls that have the objects' volumes.

    Args:
        labels: label maps, 0 the background.
        spacing: voxel edges, whose unit the radius then has.

    Raises:
        ValueError: if there is no object.

    Examples:
        >>> typical_radius([np.ones((2, 2), int)]).__round__(3)
        1.128
    """
    sizes, rank = [], 2
    for one in labels:
        one = np.asarray(one)
        rank = one.ndim
        names, counts = np.unique(one, return_counts=True)
        sizes.append(counts[names > 0])
    volumes = np.concatenate(sizes) if sizes else np.zeros(0)
    if not volumes.size:
        raise ValueError("there is no object in any label map")
    volumes = volumes * (1.0 if spacing is None else float(np.prod(spacing)))
    ball = np.pi if rank == 2 else 4 / 3 * np.pi
    return float(np.median((volumes / ball) ** (1 / rank)))
