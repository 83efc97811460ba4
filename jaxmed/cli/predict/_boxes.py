"""A table, or COCO's JSON, of the boxes that a detector finds in new images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxmed._files import write_whole
from jaxmed.cli.predict._inputs import Given
from jaxmed.cli.predict._masks import exit_code
from jaxmed.data import DataError
from jaxmed.data.formats._read import read_channels
from jaxmed.inference import BoxModel, FoundInImage, find_boxes


def write(model: BoxModel, given: Sequence[Given], out: Path | None) -> int:
    """Find boxes in every image, and write them in voxels of the image's own file.

    A box is a row ``image, label, score, low_0, ..., high_0, ...`` along the file's axes, of
    pictures rows before columns; of a file that ends in ``.json`` a box is COCO's.
    """
    from jaxmed.report import box_csv

    target = _target(out)
    names: list[str] = []
    found: list[FoundInImage] = []
    shapes: list[tuple[int, ...]] = []
    failed = 0
    for one in given:
        try:
            if one.error:
                raise ValueError(one.error)
            # Not turned: boxes are told along the axes that the file has.
            image = read_channels(one.paths, canonical=False).array
            found.append(find_boxes(model, image))
        except (DataError, ValueError, OSError) as error:
            print(f"{one.path}: {error}")
            failed += 1
            continue
        names.append(one.path.name)
        shapes.append(image.shape[:-1])
    if names:
        boxes, scores, labels = ([f[i] for f in found] for i in range(3))
        if target.suffix == ".json":
            text = json.dumps(_coco(names, shapes, found, model.recipe.classes), indent=1) + "\n"
        else:
            text = box_csv(names, boxes, scores, labels, model.recipe.classes)
        write_whole(target, text)
        print(f"{target}: {sum(len(f.boxes) for f in found)} boxes in {len(names)} image(s)")
    return exit_code(len(names), failed)


def _coco(
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    found: Sequence[FoundInImage],
    classes: Sequence[str],
) -> dict[str, Any]:
    from jaxmed.detection import to_coco

    if any(len(shape) != 2 for shape in shapes):
        raise ValueError("COCO's JSON is of pictures: write the boxes of volumes as .csv")
    annotations = []
    for i, one in enumerate(found):
        for box, score, kind in zip(*one, strict=True):
            rows = [round(float(v), 2) for v in to_coco(box)]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": i + 1, "category_id": int(kind) + 1,
                 "bbox": rows, "area": round(rows[2] * rows[3], 2), "iscrowd": 0,
                 "score": round(float(score), 6)}
            )  # fmt: skip
    return {
        "images": [
            {"id": i + 1, "file_name": name, "height": shape[0], "width": shape[1]}
            for i, (name, shape) in enumerate(zip(names, shapes, strict=True))
        ],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(classes)],
        "annotations": annotations,
    }


def _target(out: Path | None) -> Path:
    if out is None:
        return Path("boxes.csv")
    if out.is_dir() or not out.suffix:
        return out / "boxes.csv"
    if out.suffix not in (".csv", ".json"):
        raise ValueError(f"boxes are written as .csv or .json (COCO), not as {out.name!r}")
    return out
