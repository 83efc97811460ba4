"""Heat maps of attention: where the network of a bag looked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from jaxmed.data import NUCLEI
from jaxmed.report import Picture

_RADIUS = 5


def heat_maps(
    root: Path, bags: Any, scores: np.ndarray, attention: np.ndarray, *, show: int = 6
) -> tuple[Picture, ...]:
    """Images of positive bags, a disc on each nucleus: the brighter, the more weight it had.

    Args:
        root: folder of the images.
        bags: with `arrays` (`kind`, `centre`, `bag_mask`) and `source`.
        scores: (bags, 2) probabilities of the networks that held the bags out.
        attention: (bags, instances) of the same.
        show: how many: bags with epithelial and other nuclei, at even steps of the score.

    Returns:
        Pictures for a report.
    """
    kinds, mask = bags.arrays["kind"], bags.arrays["bag_mask"]
    epithelial = NUCLEI.index("epithelial")
    mixed = [
        i for i in range(len(mask)) if 0 < (kinds[i][mask[i]] == epithelial).sum() < mask[i].sum()
    ]
    mixed.sort(key=lambda i: -scores[i, 1])
    chosen = [mixed[j] for j in np.linspace(0, len(mixed) - 1, min(show, len(mixed))).astype(int)]
    pictures = []
    for i in chosen:
        name, real = bags.source.case_ids[i], mask[i]
        weight, kind = attention[i][real], kinds[i][real]
        share = float(weight[kind == epithelial].sum() / max(weight.sum(), 1e-12))
        expected = float((kind == epithelial).mean())
        pictures.append(
            Picture(
                name,
                "where it looked",
                _drawn(root, name, bags.arrays["centre"][i][real], weight, kind == epithelial),
                "epithelial nuclei",
                bags.source.classes[int(scores[i].argmax())],
                f"score {scores[i, 1]:.2f}; {share:.0%} of the attention on the {expected:.0%} of "
                "nuclei that are epithelial (ringed in green)",
            )
        )
    return tuple(pictures)


def _drawn(
    root: Path, name: str, centres: np.ndarray, weight: np.ndarray, ringed: np.ndarray
) -> np.ndarray:
    """The image, faded, with a disc a nucleus."""
    file = next(
        p
        for part in ("Detection", "Classification")
        for p in (root / part / name).glob(f"{name}.*")
        if p.suffix in (".bmp", ".png", ".tif")
    )
    with Image.open(file) as picture:
        canvas = Image.blend(picture.convert("RGB"), Image.new("RGB", picture.size, "white"), 0.5)
    brush = ImageDraw.Draw(canvas)
    # A few nuclei may have nearly all the weight: the brightest twentieth is white.
    colours = matplotlib.colormaps["inferno"](weight / max(np.quantile(weight, 0.95), 1e-12))[:, :3]
    for (row, column), colour, ring in zip(centres, colours, ringed, strict=True):
        box = (column - _RADIUS, row - _RADIUS, column + _RADIUS, row + _RADIUS)
        fill = tuple(int(255 * c) for c in colour)
        brush.ellipse(box, fill=fill, outline=(0, 170, 0) if ring else None, width=2)
    return np.asarray(canvas) / 255.0
