"""Example cases: pictures with masks, and thumbnails by rank."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmed.report.figures._gallery import case_figure, to_display
from jaxmed.report.figures._style import to_svg
from jaxmed.report.page._exhibit import Exhibits
from jaxmed.report.results._results import Results


def case_exhibits(results: Results) -> Exhibits:
    """Draw the pictures with masks."""
    shown = []
    for i, picture in enumerate(results.pictures):
        if isinstance(picture.prediction, str) or picture.prediction is None:
            continue
        figure = case_figure(picture, classes=results.classes)
        models = picture.prediction if isinstance(picture.prediction, Mapping) else {}
        whose = f" by {', '.join(models)}" if models else ""
        alt = (
            f"{picture.rank} case {picture.case}: the image, the true and the predicted outline of "
            f"{', '.join(results.classes)}{whose}. {picture.caption}"
        )
        shown.append(
            {
                "svg": to_svg(figure, name=f"case{i}", alt=alt),
                "rank": picture.rank,
                "case": picture.case,
                "caption": picture.caption,
            }
        )
    return shown


def galleries(results: Results) -> Exhibits:
    """Draw the pictures with class names, as thumbnails by rank."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for picture in results.pictures:
        if not isinstance(picture.prediction, str):
            continue
        source, width, height = thumbnail(picture.image)
        shown.setdefault(picture.rank, []).append(
            {
                "source": source,
                "width": width,
                "height": height,
                "caption": picture.caption,
                "case": picture.case,
                "right": picture.prediction == picture.truth,
                "alt": f"Case {picture.case}: {picture.caption}",
            }
        )
    return [{"name": rank.capitalize(), "pictures": found} for rank, found in shown.items()]


def thumbnail(image: Any, limit: int = 320) -> tuple[str, int, int]:
    """A picture as a PNG `data:` address, its width and its height; no side beyond the limit."""
    from PIL import Image

    x = (255 * to_display(image)).round().astype(np.uint8)
    picture = Image.fromarray(x)
    if max(picture.size) > limit:
        picture.thumbnail((limit, limit))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/png;base64,{encoded}", *picture.size
