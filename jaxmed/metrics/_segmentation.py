"""Mask metrics: Dice, IoU, volume error, sharing one accumulator of per-case counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from jaxmed import quantities
from jaxmed.metrics._cases import Cases, counter, merge, seen
from jaxmed.metrics._metric import Activation, Metric
from jaxmed.quantities import mean_defined


def dice(
    *,
    classes: int | None = None,
    average: Literal["macro"] | None = "macro",
    include_background: bool | None = None,
    over: Literal["case", "all"] = "case",
    empty: float = float("nan"),
    activation: Activation = "auto",
) -> Metric:
    r"""Dice coefficient :math:`2 |P \cap T| / (|P| + |T|)` of each class in each case.

    The value is the mean over classes of the mean over cases. For a class that is in neither truth
    nor prediction of a case Dice is undefined and takes the value `empty`, by default NaN, which is
    excluded from the mean over cases (as in nnU-Net and the Medical Segmentation Decathlon); some
    challenges use 1. A class in only one of the two scores 0.

    Outputs are logits `(batch, *spatial, classes)` for integer masks `(batch, *spatial)`: the
    largest wins, the first of equal ones. For 0/1 masks of the outputs' shape each class is a
    separate region, predicted where its probability is at least 1/2. With `classes` the outputs
    may be integer label maps of the masks' shape. `where` excludes voxels. Counts inside jit are
    exact up to 2**31 voxels per case.

    Args:
        classes: needed only for outputs that are label maps.
        average: "macro", or None for `(classes,)`, the mean over cases of each.
        include_background: keep class 0; None: only for 0/1 masks, which have no background.
        over: "case", or "all" to pool the voxels of all cases first.
        empty: the value of a class that is empty in truth and prediction.
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array; NaN if nothing is defined.
        `case_table` lists the cases.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(dice(classes=2), [[0, 1, 1, 1]], [[0, 0, 1, 1]])
        0.8

    References:
        Maier-Hein et al., Metrics reloaded, Nature Methods 2024.
    """

    def score(cases: Cases) -> np.ndarray:
        return quantities.dice(cases.hit, cases.predicted, cases.true, empty=empty)

    return _case_metric("dice", score, classes, average, include_background, over, activation)


def iou(
    *,
    classes: int | None = None,
    average: Literal["macro"] | None = "macro",
    include_background: bool | None = None,
    over: Literal["case", "all"] = "case",
    empty: float = float("nan"),
    activation: Activation = "auto",
) -> Metric:
    r"""Intersection over union :math:`|P \cap T| / |P \cup T|` of each class in each case.

    Outputs, options and the rule for empty classes are those of `dice`.

    Args:
        classes: needed only for outputs that are label maps.
        average: "macro", or None for one value per class.
        include_background: keep class 0; None: only for 0/1 masks.
        over: "case", or "all" to pool the voxels of all cases first.
        empty: the value of a class that is empty in truth and prediction.
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value in [0, 1], or an array; NaN if nothing is defined.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(iou(classes=2), [[1, 1, 1, 1]], [[0, 0, 1, 1]])
        0.5
    """

    def score(cases: Cases) -> np.ndarray:
        return quantities.iou(cases.hit, cases.predicted, cases.true, empty=empty)

    return _case_metric("iou", score, classes, average, include_background, over, activation)


def volume_error(
    *,
    classes: int | None = None,
    average: Literal["macro"] | None = "macro",
    include_background: bool | None = None,
    relative: bool = True,
    signed: bool = False,
    voxel_volume: float = 1.0,
    activation: Activation = "auto",
) -> Metric:
    r"""Volume error :math:`|V_P - V_T| / V_T` of each class in each case, averaged over both.

    A relative error needs a true volume: without a true voxel of the class it is NaN and excluded
    from the mean over cases, whatever the prediction (Dice is 0 there). The absolute error
    (`relative=False`) is always defined. Outputs are those of `dice`.

    Args:
        classes: needed only for outputs that are label maps.
        average: "macro", or None for one value per class.
        include_background: keep class 0; None: only for 0/1 masks.
        relative: divide by the true volume.
        signed: keep the sign; positive means too large.
        voxel_volume: volume of a voxel, for `relative=False` (e.g. in mm3).
        activation: "auto" (the outputs are logits) or None (they are probabilities).

    Returns:
        A metric with a float value, or an array; NaN if nothing is defined.

    Raises:
        ValueError: an option is outside its values.

    Examples:
        >>> from jaxmed.metrics import evaluate
        >>> evaluate(volume_error(classes=2), [[0, 1, 1, 1]], [[0, 0, 1, 1]])
        0.5
    """

    def score(cases: Cases) -> np.ndarray:
        if relative:
            error = quantities.volume_error(cases.predicted, cases.true)
        else:
            error = (cases.predicted - cases.true) * voxel_volume
        return error if signed else np.abs(error)

    return _case_metric("volume_error", score, classes, average, include_background, "case",
                        activation)  # fmt: skip


def case_table(
    cases: Cases,
    *,
    case_ids: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    empty: float = float("nan"),
    voxel_volume: float | Sequence[float] = 1.0,
) -> list[dict[str, Any]]:
    """Tabulate the accumulator of `dice`, `iou` or `volume_error`, one row per case and class.

    Args:
        cases: the (merged) accumulator. Rows of weight 0 (padding) are left out.
        case_ids: ids of the cases that remain, in the order seen; None numbers them.
        class_names: names of all classes, background included where the masks have it.
        empty: Dice and IoU of a class that is empty in truth and prediction.
        voxel_volume: volume of a voxel: one, or one per remaining case.

    Returns:
        Rows with the keys case, class, dice, iou, true_volume, predicted_volume, volume_error
        (signed, relative; NaN without a true voxel). Class 0 is included.

    Raises:
        ValueError: the number of ids, names or volumes is not that of the cases or classes.

    Examples:
        >>> counts = dice(classes=2).from_batch([[0, 1, 1, 1]], [[0, 0, 1, 1]])
        >>> [row["dice"] for row in case_table(counts, case_ids=["anna"])]
        [0.6666666666666666, 0.8]
    """
    cases = seen(cases, "case_table")
    n, k = cases.hit.shape
    ids = list(map(str, range(n))) if case_ids is None else list(case_ids)
    names = list(map(str, range(k))) if class_names is None else list(class_names)
    volume = np.asarray(voxel_volume, np.float64)
    volume = np.full(n, volume) if volume.ndim == 0 else volume
    for have, want, title in ((ids, n, "case_ids"), (names, k, "class_names"),
                              (volume, n, "voxel_volume")):  # fmt: skip
        if len(have) != want:
            raise ValueError(f"case_table: {len(have)} {title} for {want}")
    overlap = quantities.dice(cases.hit, cases.predicted, cases.true, empty=empty)
    union = quantities.iou(cases.hit, cases.predicted, cases.true, empty=empty)
    error = quantities.volume_error(cases.predicted, cases.true)
    return [
        {
            "case": ids[i],
            "class": names[j],
            "dice": float(overlap[i, j]),
            "iou": float(union[i, j]),
            "true_volume": float(cases.true[i, j] * volume[i]),
            "predicted_volume": float(cases.predicted[i, j] * volume[i]),
            "volume_error": float(error[i, j]),
        }
        for i in range(n)
        for j in range(k)
    ]


def _case_metric(
    name: str,
    score: Callable[[Cases], np.ndarray],
    classes: int | None,
    average: Literal["macro"] | None,
    include_background: bool | None,
    over: Literal["case", "all"],
    activation: Activation,
) -> Metric:
    for value, allowed, title in (
        (average, ("macro", None), "average"),
        (over, ("case", "all"), "over"),
        (activation, ("auto", None), "activation"),
    ):
        if value not in allowed:
            raise ValueError(
                f"{name}: {title}={value!r}; it must be one of {', '.join(map(repr, allowed))}"
            )

    def compute(accumulator: Cases) -> float | np.ndarray:
        cases = seen(accumulator, name)
        if over == "all":
            hit, predicted, true = (
                (c * cases.weight[:, None]).sum(0, keepdims=True) for c in cases[:3]
            )
            cases = Cases(hit, predicted, true, np.ones(1), cases.invalid, cases.regions)
        values = score(cases)
        per_class = np.array([mean_defined(v, cases.weight) for v in values.T])
        keep = bool(cases.regions) if include_background is None else include_background
        if not keep:
            per_class = per_class[1:]
        return per_class if average is None else mean_defined(per_class)

    return Metric(counter(classes, activation is None), merge, compute)
