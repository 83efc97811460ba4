"""RetinaNet's head: classes and boxes at each place of a pyramid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxmed.core import Array
from jaxmed.networks.layers._convolution import Conv, at_least_float32, per_axis
from jaxmed.networks.layers._norm import make_norm
from jaxmed.ops._anchors import anchors
from jaxmed.ops._boxes import Form, decode_boxes


class RetinaHead(nn.Module):
    """Classes and boxes at each place of a pyramid, by two towers that all maps share.

    Attributes:
        classes: number of classes, without a background.
        strides: voxels of the image between the places of each map, finest first; an int or one
            per axis.
        scales: edges of the anchors as multiples of the stride.
        aspects: factors of the anchors' edges along each axis, a row for each kind; cubes alone by
            default.
        form: how boxes are predicted: ``"size"`` relative to anchors, ``"sides"`` as distances to
            the sides (anchor-free, with one anchor a place that sets their unit).
        depth: convolutions of each tower.
        prior: probability of each class at each place before any training.
        norm: normalisation in the towers, see :func:`make_norm`.
        dtype: dtype of the computation; endpoints are at least float32.

    References:
        Lin et al., Focal loss for dense object detection, ICCV 2017. Tian et al., FCOS, ICCV 2019.

    >>> import jax, jax.numpy as jnp
    >>> maps = (jnp.ones((2, 4, 4, 8)), jnp.ones((2, 2, 2, 8)))
    >>> head, key = RetinaHead(3, strides=(8, 16)), jax.random.key(0)
    >>> outputs, _ = jax.eval_shape(head.init_with_output, key, maps)
    >>> outputs["logits"].shape, outputs["box"].shape, [a.shape for a in outputs["anchor"]]
    ((2, 20, 3), (2, 20, 4), [(2, 16, 4), (2, 4, 4)])
    """

    classes: int
    strides: tuple[int | tuple[int, ...], ...]
    scales: tuple[float, ...] = (4.0,)
    aspects: tuple[tuple[float, ...], ...] | None = None
    form: Form = "size"
    depth: int = 2
    prior: float = 0.01
    norm: str | Callable[..., nn.Module] = "group"
    dtype: Any = None

    @nn.compact
    def __call__(self, pyramid: tuple[Array, ...], *, train: bool = False) -> dict[str, Any]:
        """Map a pyramid, finest first and of one width, to predictions at its places.

        Returns:
            `logits` `(batch, places, classes)`, of each class by itself; `box`
            `(batch, places, 2 * rank)` in voxels of the image; `anchor`, a tuple of the same for
            each map, what the boxes are relative to.

        Raises:
            ValueError: strides that are not those of the maps, or maps of several widths.
        """
        maps = tuple(pyramid)
        self._check(maps)
        kinds = len(self.scales) * (1 if self.aspects is None else len(self.aspects))
        rank = maps[0].ndim - 2
        width = maps[0].shape[-1]
        layers = {
            name: [
                Conv(width, 3, dtype=self.dtype, name=f"{name}{i + 1}") for i in range(self.depth)
            ]
            for name in ("class", "box")
        }
        low = nn.initializers.normal(0.01)
        last = {
            "class": Conv(kinds * self.classes, 3, dtype=self.dtype, kernel_init=low, name="logits",
                          bias=False),
            "box": Conv(kinds * 2 * rank, 3, dtype=self.dtype, kernel_init=low, name="deltas"),
        }  # fmt: skip
        prior = self.param(
            "prior", nn.initializers.constant(math.log(self.prior / (1 - self.prior))),
            (self.classes,),
        )  # fmt: skip

        def tower(name: str, x: Array, level: int, outputs: int) -> Array:
            for i, layer in enumerate(layers[name]):
                # Maps of several strides differ in their statistics: a norm for each.
                norm = make_norm(self.norm, name=f"{name}{i + 1}_norm{level + 1}", dtype=self.dtype)
                x = nn.relu(norm(layer(x), train=train))
            return at_least_float32(last[name](x)).reshape(x.shape[0], -1, outputs)

        logits, boxes, bases = [], [], []
        for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True)):
            base = jnp.asarray(
                anchors([x.shape[1:-1]], [stride], scales=self.scales, aspects=self.aspects)
            )
            scale = self.param(f"scale{level + 1}", nn.initializers.ones, ())
            deltas = tower("box", x, level, 2 * rank) * scale
            logits.append(tower("class", x, level, self.classes) + prior)
            boxes.append(decode_boxes(deltas, base, self.form))
            bases.append(jnp.broadcast_to(base, (x.shape[0], *base.shape)))
        return {
            "logits": jnp.concatenate(logits, axis=1),
            "box": jnp.concatenate(boxes, axis=1),
            "anchor": tuple(bases),
        }

    def _check(self, maps: tuple[Array, ...]) -> None:
        shapes = [x.shape[1:-1] for x in maps]
        if len(maps) != len(self.strides):
            raise ValueError(
                f"strides {self.strides} are one for each map: the pyramid has {len(maps)}, of the "
                f"spatial shapes {shapes}. Choose maps by jaxmed.networks.pyramid(trunk, levels=)"
            )
        if len({x.shape[-1] for x in maps}) > 1:
            raise ValueError(
                f"the maps have the widths {[x.shape[-1] for x in maps]}: one head serves maps of "
                "one width, as those of jaxmed.networks.pyramid(trunk)"
            )
        steps = [per_axis(s, len(shapes[0]), "strides") for s in self.strides]
        for axis, places in enumerate(zip(*shapes, strict=True)):
            # A map of n places and stride s is that of an image of (n - 1) s + 1 to n s voxels.
            ranges = [((n - 1) * s[axis] + 1, n * s[axis]) for n, s in zip(places, steps)]
            if max(low for low, _ in ranges) > min(high for _, high in ranges):
                raise ValueError(
                    f"maps of {places} places along axis {axis} are not of the strides "
                    f"{[s[axis] for s in steps]}: no image has both"
                )
