"""A small Decathlon folder of phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from jaxmed.data import phantoms


def write_folder(folder: Path, n: int, shape: tuple[int, int, int]) -> Path:
    """Write n scans of an ellipsoid and a box, every second one stored in another orientation."""
    source = phantoms.segmentation(n, shape, classes=3)
    affine = np.diag([-1.0, 1, 1, 1])
    affine[:3, 3] = 10, -20, 5
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    listed = []
    for i in range(n):
        name = f"case_{i:03d}.nii.gz"
        for part, array in (
            ("imagesTr", (1000 * source[i]["image"][..., 0]).astype(np.int16)),
            ("labelsTr", source[i]["mask"].astype(np.uint8)),
        ):
            image = nib.Nifti1Image(array, affine)
            if i % 2:
                image = image.as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))
            image.to_filename(folder / part / name)
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    table = {
        "labels": {"0": "background", "1": "ellipsoid", "2": "box"},
        "modality": {"0": "MRI"},
        "training": listed,
    }
    (folder / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    return folder
