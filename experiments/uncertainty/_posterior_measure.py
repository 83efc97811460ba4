"""What the uncertainty experiment measures: inputs, numbers of a method, the table over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

import jaxmed as jm
from jaxmed import bayes
from jaxmed.data import in_memory, map_source, medmnist

NOISE, BLUR = (0.04, 0.08, 0.12, 0.18, 0.26), (0.5, 0.75, 1.0, 1.5, 2.0)
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)


def read(dataset: str, part: str) -> Any:
    """A part of a set, scaled to [-1, 1]."""
    scale = lambda batch: {**batch, "image": (batch["image"] - 0.5) / 0.5}  # noqa: E731
    return in_memory(map_source(medmnist(dataset, part), scale, batched=True))


def whole(source: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels."""
    images = np.stack([source[i]["image"] for i in range(len(source))]).astype(np.float32)
    return images, np.asarray(jm.data.column(source, "label")).astype(int)


def inputs(x: np.ndarray, seed: int, corrupted: bool) -> dict[str, np.ndarray]:
    """The test images, those of another kind, and the test images under corruptions."""
    channels = x.shape[-1]
    other = "retinamnist" if channels == 1 else "breastmnist"
    strange = whole(read(other, "test"))[0]
    strange = strange.mean(-1, keepdims=True) if channels == 1 else np.repeat(strange, 3, -1)
    views = {"test": x, "strange": strange.astype(np.float32)}
    if not corrupted:
        return views
    rng = np.random.default_rng(seed)
    unit = 0.5 * x + 0.5
    for i in range(5):
        centre = unit.mean(axis=(1, 2), keepdims=True)
        for name, changed in (
            ("noise", unit + NOISE[i] * rng.normal(size=x.shape)),
            ("blur", ndimage.gaussian_filter(unit, (0, BLUR[i], BLUR[i], 0))),
            ("contrast", centre + CONTRAST[i] * (unit - centre)),
        ):
            views[f"{name}{i + 1}"] = (2 * np.clip(changed, 0, 1) - 1).astype(np.float32)
    return views


def measure(samples: dict[str, np.ndarray], y: np.ndarray) -> dict[str, Any]:
    """Numbers of one method."""
    row: dict[str, Any] = scores(samples["test"], y)
    known, strange = (bayes.decompose(samples[name]) for name in ("test", "strange"))
    is_other = np.r_[np.zeros(len(known.total)), np.ones(len(strange.total))]
    for name in ("total", "epistemic"):
        s = np.r_[getattr(known, name), getattr(strange, name)]
        found = bayes.ood_scores(is_other, s)
        row[f"ood_{name}"] = round(found.auroc, 4)
    for kind in ("noise", "blur", "contrast"):
        rows = [scores(samples[f"{kind}{i}"], y) for i in range(1, 6) if f"{kind}{i}" in samples]
        if rows:
            row[kind] = {k: [r[k] for r in rows] for k in ("accuracy", "nll", "brier", "ece")}
    return row


def scores(samples: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Of the mean prediction."""
    p = samples.mean(axis=0)
    wrong = (jm.quantities.largest(p) != y).astype(float)
    selective = bayes.selective_scores(wrong, p.max(1))
    binary = p[:, 1] if p.shape[1] == 2 else p
    found = {
        "accuracy": 1 - wrong.mean(),
        "auc": jm.quantities.macro_auc(y, p),
        "nll": jm.stats.log_loss(y, binary).value,
        "brier": jm.quantities.brier_values(np.eye(p.shape[1])[y], p).sum(1).mean(),
        "ece": jm.stats.ece(y, p, of="top", n_bins=15, n_resamples=0).value,
        "aurc": selective.aurc,
        "error_auroc": selective.error_auroc,
    }
    return {k: round(float(v), 4) for k, v in found.items()}


QUALITY = ("accuracy", "auc", "nll", "brier", "ece", "aurc", "error_auroc")
SHIFT = ("noise nll", "blur nll", "contrast nll", "noise ece", "blur ece", "contrast ece")
STRANGE = ("ood_total", "ood_epistemic", "train_cost", "predict_cost")


def record(path: Path) -> dict[str, Any]:
    """The rows of a file, and their tables: three a data set, means over seeds with t intervals."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    # A cell that was made again counts once, as it was last.
    rows = list({(r["dataset"], r["method"], r["seed"]): r for r in rows}.values())
    tables = {}
    for dataset in sorted({r["dataset"] for r in rows}):
        own = [r for r in rows if r["dataset"] == dataset]
        for name, columns in ((dataset, QUALITY), (f"{dataset} shift", SHIFT),
                              (f"{dataset} cost", STRANGE)):  # fmt: skip
            body = []
            for method in dict.fromkeys(r["method"] for r in own):
                seeds = [r for r in own if r["method"] == method]
                cells = [cell([number(r, column) for r in seeds]) for column in columns]
                body.append([f"`{method}`", len(seeds), *cells])
            tables[name] = {"head": ["method", "seeds", *columns], "rows": body}
    environment = rows[0]["environment"]
    return {
        "command": "jaxmed train uncertainty " + rows[0]["options"],
        "environment": environment,
        "rows": [{k: v for k, v in r.items() if k not in ("environment", "options")} for r in rows],
        "tables": tables,
    }


def number(row: dict[str, Any], column: str) -> float:
    """A number of a row; under corruption, the mean over its strengths."""
    kind, _, name = column.rpartition(" ")
    if not kind:
        return row[name]
    return float(np.mean(row[kind][name])) if kind in row else np.nan


def text(made: dict[str, Any]) -> str:
    """The tables of a record in Markdown."""
    lines = []
    for name, table in made["tables"].items():
        lines += [f"\n{name}\n", "| " + " | ".join(table["head"]) + " |"]
        lines.append("|---" * len(table["head"]) + "|")
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in table["rows"]]
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """A mean with half the width of its 95% t interval."""
    from scipy import stats as law

    v = np.array(values, float)
    if not np.isfinite(v).all():
        return "-"
    if v.size < 2:
        return f"{v.mean():.3f}"
    half = law.t.ppf(0.975, v.size - 1) * v.std(ddof=1) / np.sqrt(v.size)
    return f"{v.mean():.3f} ± {half:.3f}"
