"""What a large cohort would cost, from committed records: ``python -m benchmarks scale``.

Rates are those of `benchmarks/results`; everything else is an assumption, and stands in `ASSUMED`.
Nothing here was run at that size.
"""

from __future__ import annotations

from typing import Any

from benchmarks._record import load

ASSUMED = {
    "CTs": 100_000,
    "voxels of a CT": 512 * 512 * 300,
    "bytes of a voxel on disk, compressed without loss": 1.0,
    "bytes of a voxel prepared: float32, and its mask as int32": 8.0,
    "steps of a training": 250_000,
    "voxels of a step, 2 patches of 128^3": 2 * 128**3,
    "slides": 1_000_000,
    "gigabytes of a slide": 1.0,
    "pixels of a slide's side at 0.5 um": 50_000,
    "share of a slide that is tissue": 1 / 3,
    "kilobytes of a tile of 256 pixels as PNG": 100,
    "dollars for an hour of a GPU": 3.0,
    "dollars for an hour of a core": 0.04,
    "dollars for a terabyte and month": 20.0,
}


def scaled() -> dict[str, Any]:
    """The record: the assumptions, and what follows of them."""
    a = ASSUMED
    window, step, patches, surfaces = (
        _rate("sliding_window-gpu", "256^3 in windows of 96^3", 256**3),
        _rate("train_step-gpu", "U-Net 3D, 48x64x48, batch 4", 4 * 48 * 64 * 48),
        _rate("patches-cpu", "patches of 96^3 from 4 volumes of 256^3", 2 * 96**3),
        _rate("metrics-cpu", "all three, against SciPy's transform alone", 128**3),
    )
    voxels = a["CTs"] * a["voxels of a CT"]
    trained = a["steps of a training"] * a["voxels of a step, 2 patches of 128^3"]
    tiles = a["slides"] * a["share of a slide that is tissue"] * (
        a["pixels of a slide's side at 0.5 um"] / 256
    ) ** 2  # fmt: skip
    gpu, core = a["dollars for an hour of a GPU"], a["dollars for an hour of a core"]
    month = a["dollars for a terabyte and month"]

    def stored(what: str, bytes_: float) -> list[str]:
        terabytes = bytes_ / 1e12
        return [what, f"{terabytes:,.0f} TB", "", f"{terabytes * month:,.0f} a month"]

    def hours(what: str, seconds: float, price: float, unit: str, of: str) -> list[str]:
        found = seconds / 3600
        return [what, f"{found:,.0f} {unit}", of, f"{found * price:,.0f}"]

    cts = [
        stored("scans as they come", voxels
               * a["bytes of a voxel on disk, compressed without loss"]),
        stored("prepared for training, every scan", voxels
               * a["bytes of a voxel prepared: float32, and its mask as int32"]),
        hours("one training", trained / step, gpu, "GPU hours", "train_step-gpu"),
        hours("its patches read", 2 * trained / patches, core, "core hours", "patches-cpu"),
        hours("every scan predicted", voxels / window, gpu, "GPU hours", "sliding_window-gpu"),
        hours("surfaces measured, one structure each", 2 * voxels / surfaces, core, "core hours",
              "metrics-cpu"),
    ]  # fmt: skip
    slides = [
        stored("slides as they come", a["slides"] * a["gigabytes of a slide"] * 1e9),
        stored("tiles of their tissue, as pictures", tiles
               * a["kilobytes of a tile of 256 pixels as PNG"] * 1e3),
        ["files of these tiles", f"{tiles:,.0f}", "", ""],
    ]  # fmt: skip
    head = ["", "how much", "rate of", "dollars"]
    return {
        "assumed": a,
        "rates": {
            "voxels a second, sliding window, one GPU": round(window),
            "voxels a second, a step of a U-Net, one GPU": round(step),
            "voxels a second, patches from memory maps, two cores": round(patches),
            "voxels a second, surface distances, two cores": round(surfaces),
        },
        "tables": {
            "cts": {"head": head, "rows": cts},
            "slides": {"head": head, "rows": slides},
            "assumed": {
                "head": ["assumed", ""],
                "rows": [[name, f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"]
                         for name, value in a.items()],
            },
        },
    }  # fmt: skip


def _rate(record: str, case: str, items: int) -> float:
    """Items a second of jaxmed in a case of a record."""
    found = next(c for c in load(record)["cases"] if c["name"] == case)
    return items / found["sides"]["jaxmed"]["median"]
