"""A registration run's scans in one frame, its pairs, and what is measured of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxmed import losses, report
from jaxmed import registration as reg
from jaxmed.report import PairPicture

from ._pair_frames import Ready, frame_of, going_on, look, numbers_of, origins, ready
from ._pair_tables import Listed, held_pairs
from ._parts import Parts


class PairData:
    """The scans of a run in one frame; each is read when it is asked for."""

    def __init__(self, config: Any, scans: Listed, parts: Parts) -> None:
        source = scans.source
        train, held = parts.folds[0]
        self.source, self.train = source, [int(i) for i in train]
        self.test = len(parts.test) > 0
        which = [int(i) for i in (parts.test if self.test else held)]
        if len(self.train) < 2 or np.array_equal(train, held):
            raise ValueError(
                f"{source.name}: {len(source)} scan{'s' * (len(source) != 1)}, of which "
                f"{len(set(self.train) - set(which))} may be trained on: a pair is two scans, and "
                "others are measured"
            )
        given = scans.pairs
        if given is None:
            self.learned = None
            self.pairs = held_pairs(source, which, config.patients, config.seed)
        else:
            at = {i: k for k, i in enumerate(self.train)}
            self.learned = [(at[int(a)], at[int(b)]) for a, b in given if a in at and b in at]
            self.pairs = [(int(a), int(b)) for a, b in given if a in which and b in which]
            if not self.pairs or not self.learned:
                raise ValueError(
                    f"{source.name}: {len(self.learned)} of the pairs are trained on and "
                    f"{len(self.pairs)} measured: give more pairs that share no scan or patient"
                )
        used = sorted({*self.train, *(i for pair in self.pairs for i in pair)})
        seen = look(source, used)
        together = given is not None or config.patients == "same"
        self.centred = (config.align or ("headers" if together else "middles")) == "middles"
        self.numbers = numbers_of(source, seen, self.train)
        self.origins = origins(source, seen, self.centred)
        self.frame = frame_of(seen, self.origins, config.size)

    def ready(self, i: int) -> Ready:
        """A scan on the frame."""
        return ready(self.source, i, self.frame, self.origins[i], self.numbers)

    def names_of(self, pair: tuple[int, int]) -> str:
        """A pair's name."""
        return f"{self.source.case_ids[pair[1]]} onto {self.source.case_ids[pair[0]]}"

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of what the masks hold."""
        classes = self.source.mask_labels.classes
        return tuple(classes[n] if n < len(classes) else str(n) for n in self.numbers)

    @property
    def lead(self) -> str:
        """What is looked at first."""
        return "dice" if self.numbers else "local_correlation"


def measured(
    data: PairData, model: reg.WarpModel
) -> tuple[dict[str, list[float]], list[PairPicture]]:
    """Register every pair that is measured; some are to be looked at."""
    rows = []
    for a, b in data.pairs:
        fixed, moving = data.ready(a), data.ready(b)
        rows.append(values_of(data, fixed, moving, _warp(model, fixed, moving)))
    values = {name: [row[name] for row in rows] for name in rows[0]}
    before, after = (values[f"{data.lead}/{when}"] for when in ("before", "after"))
    shown = []
    for rank, i in report.best_median_worst(after).items():
        fixed, moving = (data.ready(k) for k in data.pairs[i])
        seen = going_on(moving.image)
        moved = reg.warp_scan(_warp(model, fixed, moving), seen, fixed.image.space)
        still, lay, gone = (
            np.clip(s.array[..., 0], 0, 1) for s in (fixed.image, moving.image, moved)
        )
        name = data.lead.replace("_", " ").capitalize()
        shown.append(
            PairPicture(
                data.names_of(data.pairs[i]), rank, still, lay, gone, data.frame.spacing,
                f"{name} {before[i]:.3f} before, {after[i]:.3f} after.",
            )
        )  # fmt: skip
    return values, shown


def looked(
    data: PairData, pairs: list[tuple[Ready, Ready]], warps: list[reg.Warp]
) -> dict[str, float]:
    """Mean Dice of pairs, or their local correlation where no masks are."""
    found = [
        values_of(data, *pair, warp)[f"{data.lead}/after"]
        for pair, warp in zip(pairs, warps, strict=True)
    ]
    return {f"held out/{data.lead}": float(np.nanmean(found))} if np.isfinite(found).any() else {}


def values_of(data: PairData, fixed: Ready, moving: Ready, warp: reg.Warp) -> dict[str, float]:
    """What is measured of a pair that a warp has registered."""
    still = reg.affine_warp(np.eye(warp.rank + 1))
    space = fixed.image.space
    inside = fixed.inside[None] > 0
    seen = going_on(moving.image)  # as the network meets it
    values: dict[str, float] = {}
    for when, one in (("before", still), ("after", warp)):
        if fixed.mask is not None and moving.mask is not None:
            moved = reg.warp_scan(one, moving.mask, fixed.mask.space)
            dice = report.agreement(fixed.mask.array, moved.array, len(data.numbers))["dice"]
            values[f"dice/{when}"] = float(np.nanmean(dice)) if np.isfinite(dice).any() else np.nan
            if len(dice) > 1:
                for name, value in zip(data.structures, dice, strict=True):
                    values[f"dice/{when}, {name}"] = float(value)
        pair = reg.warp_scan(one, seen, space).array[None], fixed.image.array[None]
        values[f"local_correlation/{when}"] = 1 - float(losses.lncc(*pair, where=inside)[0])
        values[f"correlation/{when}"] = 1 - float(losses.ncc(*pair, where=inside)[0])
    values["sd_log_jacobian"] = float(reg.sd_log_jacobian(warp, space))
    values["folds_percent"] = 100 * float(reg.folds(warp, space))
    return values


def _warp(model: reg.WarpModel, fixed: Ready, moving: Ready) -> reg.Warp:
    return reg.predict_warp(model.network, model.params, model.state, fixed.image, moving.image)
