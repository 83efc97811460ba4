"""Features of images: of pixels, of ImageNet's network, of a trained run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_BATCH = 32
_SIDE = 128  # To which images are brought for ImageNet's network.


def features_of(name: str, source: Any, *, size: int) -> tuple[np.ndarray, str]:
    """Features of every image of a source.

    Args:
        name: ``pixels``, ``imagenet``, or the folder of a trained run.
        source: as `data.dataset` opens it.
        size: side to which images are brought for ``pixels``.

    Returns:
        (n, d) float32, and what they are, in words.

    Raises:
        ValueError: a name that is neither, or images that the network does not take.
    """
    if name == "pixels":
        rows = [small(middle(source.image(i)), size).ravel() for i in range(len(source))]
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            raise ValueError("images have different numbers of channels: --features imagenet")
        return np.stack(rows).astype(np.float32), f"pixels of {size} x {size}"
    if name == "imagenet":
        apply, prepare = _imagenet()
        return _over(source, prepare, apply), "EfficientNet-Lite0 trained on ImageNet"
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(f"--features is pixels, imagenet or the folder of a run, not {name!r}")
    apply, prepare = _of_run(folder)
    return _over(source, prepare, apply), f"the network of {folder.name}"


def grey(source: Any, size: int) -> np.ndarray:
    """Images as they are, small and without colours, (n, size * size), for near duplicates."""
    found = [small(middle(source.image(i)), size).mean(-1).ravel() for i in range(len(source))]
    return np.stack(found).astype(np.float32)


def middle(scan: Any) -> np.ndarray:
    """An image (height, width, channels) in [0, 1]: of a volume its middle plane.

    Pictures are read as that, and keep how bright they are; other grey values have no zero and no
    unit in common, and are brought between their own 1st and 99.5th percentile.
    """
    x = np.asarray(scan.array, np.float32)
    if x.ndim == 4:
        # Right-anterior-superior: the first axis to the right, the second upwards.
        x = x[:, :, x.shape[2] // 2].swapaxes(0, 1)[::-1]
    if x.min() >= 0 and x.max() <= 1:
        return x
    low, high = np.percentile(x, [1, 99.5])
    return np.clip((x - low) / max(float(high - low), 1e-12), 0, 1)


def small(image: np.ndarray, size: int) -> np.ndarray:
    """An image (height, width, channels) brought to (size, size, channels) by means over areas."""
    from PIL import Image

    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(image[..., c], np.float32)).resize(
                (size, size), Image.Resampling.BILINEAR
            )
        )
        for c in range(image.shape[-1])
    ]
    return np.stack(planes, axis=-1)


def _over(
    source: Any, prepare: Callable[[Any], np.ndarray], apply: Callable[[np.ndarray], Any]
) -> np.ndarray:
    """Features of all images, batch by batch; the last one filled up, so that one is compiled."""

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(source), _BATCH):
            rows = range(start, min(start + _BATCH, len(source)))
            images = np.stack([prepare(source.image(i)) for i in rows])
            filled = np.resize(images, (_BATCH, *images.shape[1:]))
            yield np.asarray(apply(filled), np.float32)[: len(images)]

    return np.concatenate([*batches()])


def _imagenet() -> tuple[Callable[[np.ndarray], Any], Callable[[Any], np.ndarray]]:
    import jax

    from jaxmed import core, networks

    network = core.from_linen(networks.efficientnet_lite0(1000))
    params, state = networks.imagenet_lite0()
    apply = jax.jit(lambda images: network.apply(params, state, images)[0]["features"])

    def prepare(scan: Any) -> np.ndarray:
        x = small(middle(scan), _SIDE)
        # Grey ones as three equal channels; of more channels than colours the first.
        x = x if x.shape[-1] == 3 else np.repeat(x[..., :1], 3, axis=-1)
        return (255 * x - 127) / 128

    return apply, prepare


def _of_run(folder: Path) -> tuple[Callable[[np.ndarray], Any], Callable[[Any], np.ndarray]]:
    import jax
    import jax.numpy as jnp

    from jaxmed import data, inference

    model = inference.load_model(folder)
    if not isinstance(model, inference.Segmenter | inference.ImageModel):
        raise ValueError(
            f"{folder} holds a model for {model.recipe.task}: features are those of a segmenter, a "
            "classifier or a regressor"
        )
    recipe = model.recipe
    network = recipe.network()
    params, state = model.params, model.state
    if recipe.members > 1:
        params, state = jax.tree.map(lambda leaf: leaf[0], (params, state))

    def pooled(endpoints: dict[str, Any]) -> Any:
        if "features" in endpoints:
            found = endpoints["features"]
        else:  # of a network for masks: its coarsest map
            found = endpoints["pyramid"][-1] if "pyramid" in endpoints else endpoints["logits"]
        return jnp.mean(found, axis=tuple(range(1, found.ndim - 1)))

    @jax.jit
    def apply(images: Any) -> Any:
        return pooled(network.apply(params, state, images)[0])

    def prepare(scan: Any) -> np.ndarray:
        if isinstance(model, inference.Segmenter):
            ready = inference.prepare(model.recipe, scan)
            return data.crop_or_pad(ready.array, model.recipe.patch)
        return inference.prepare_image(model.recipe, scan)

    return apply, prepare
