"""Calibration maps, fitted on held-out cases and stored as plain data.

`jaxmed.stats` measures calibration (`ece`, `reliability`, `calibration_slope`, ...); these maps
improve it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from jaxmed import quantities
from jaxmed.bayes._check import class_labels, probabilities
from jaxmed.stats.checks import Floats, finite, unknown

Method = Literal["temperature", "vector", "dirichlet", "platt", "isotonic", "beta"]
METHODS: tuple[Method, ...] = get_args(Method)
_BINARY = ("platt", "isotonic", "beta")


class Calibrator(NamedTuple):
    """A fitted calibration map.

    method; classes; parameters: arrays by name, for binary maps one per class (`x0`, `y0`, ...),
    fitted one-vs-rest and scaled to sum 1; logits: whether it takes logits; before, after:
    log loss of the calibration cases, in nats; notes.
    """

    method: Method
    classes: int
    parameters: Mapping[str, Floats]
    logits: bool
    before: float
    after: float
    notes: tuple[str, ...] = ()


def fit_calibrator(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    method: Method = "temperature",
    logits: bool = False,
    penalty: float = 1e-3,
) -> Calibrator:
    r"""Fit a calibration map by maximum likelihood.

    ============  ====================================================  ==================
    method        map                                                   parameters
    ============  ====================================================  ==================
    temperature   :math:`\text{softmax}(z / T)`                         1
    vector        :math:`\text{softmax}(w \circ z + b)`                 2 K
    dirichlet     :math:`\text{softmax}(W \log p + b)`                  K (K + 1)
    platt         :math:`\sigma(a\,\text{logit}\,p + b)`                2, or 2 a class
    beta          :math:`\sigma(a \log p - b \log(1 - p) + c)`          3, or 3 a class
    isotonic      rising, piecewise linear between pooled blocks        as many as needed
    ============  ====================================================  ==================

    The last three are for two classes; with more, each class is calibrated one-vs-rest and rows
    are scaled to sum 1. Only `temperature` never changes the most likely class.

    Args:
        labels: (...,) class indices of cases, or of all voxels of segmentation cases.
        scores: (..., classes) probabilities, or (cases,) of the positive class; or logits.
        method: as above.
        logits: whether `scores` are logits, which keeps what float32 probabilities lose near 1.
        penalty: factor of the mean square of Dirichlet's off-diagonal weights and biases (ODIR).

    Returns:
        The map, for `calibrate`.

    Raises:
        ValueError: for an empty set, logits given for probabilities, labels of one class only, or a
            class absent where each has parameters of its own (all methods but temperature).

    References:
        Guo et al. (2017), ICML. Kull et al. (2017), AISTATS (beta). Kull et al. (2019), NeurIPS
        (Dirichlet). Platt (1999). Zadrozny and Elkan (2002), KDD (isotonic).

    Examples:
        >>> sure = fit_calibrator([0, 1, 1, 0], [[9.0, 0], [0, 9], [9, 0], [9, 0]], logits=True)
        >>> bool(sure.parameters["temperature"] > 1)
        True
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    z, p = _both(scores, logits)
    k = p.shape[1]
    y = class_labels(np.asarray(labels).reshape(-1), k, len(p))
    present = np.bincount(y, minlength=k)
    if (present > 0).sum() < 2:
        raise ValueError(f"all {y.size} calibration labels are of class {y[0]}")
    if method != "temperature" and (present == 0).any():
        raise ValueError(
            f"class {int(np.argmin(present))} is absent from calibration, and {method!r} has "
            "parameters for each class: use 'temperature'"
        )
    notes = ()
    if method == "temperature":
        found = {"temperature": _temperature(y, z)}
    elif method == "vector":
        found = _linear(y, z, full=False, penalty=0.0)
    elif method == "dirichlet":
        found = _linear(y, np.log(np.clip(p, 1e-12, 1)), full=True, penalty=penalty)
    else:
        fit = {"platt": _platt, "beta": _beta, "isotonic": _isotonic}[method]
        found = {}
        for c in (1,) if k == 2 else range(k):
            own = fit((y == c).astype(np.float64), np.clip(p[:, c], 1e-12, 1 - 1e-12))
            found |= {f"{name}{c}": value for name, value in own.items()}
    fitted = Calibrator(method, k, found, logits, _loss(p, y), 0.0, notes)
    return fitted._replace(after=_loss(_apply(fitted, z, p), y))


def calibrate(calibrator: Calibrator, scores: ArrayLike) -> Floats:
    """Apply a fitted calibration map.

    Args:
        calibrator: result of `fit_calibrator`.
        scores: (..., classes), or (cases,) of the positive class; logits if it was fitted to them.

    Returns:
        Probabilities in the shape of `scores`.

    Raises:
        ValueError: for another number of classes, or logits given for probabilities.

    Examples:
        >>> c = Calibrator("temperature", 2, {"temperature": np.array(2.0)}, True, 0.0, 0.0)
        >>> calibrate(c, [[2.0, 0.0]]).round(3)
        array([[0.731, 0.269]])
    """
    z, p = _both(scores, calibrator.logits)
    if p.shape[1] != calibrator.classes:
        raise ValueError(f"the map is for {calibrator.classes} classes, not {p.shape[1]}")
    shape = np.shape(scores)
    found = _apply(calibrator, z, p)
    return found[:, 1] if len(shape) == 1 else found.reshape(shape)


def _both(scores: ArrayLike, logits: bool) -> tuple[Floats, Floats]:
    """Logits and probabilities, both (rows, classes)."""
    if logits:
        z = finite(scores, "logits", ndim=None)
        if z.ndim == 1:
            z = np.stack([np.zeros_like(z), z], axis=1)
        z = z.reshape(-1, z.shape[-1])
        return z, special.softmax(z, axis=1)
    p = np.asarray(scores, dtype=np.float64)
    p = probabilities(p if p.ndim == 1 else p.reshape(-1, p.shape[-1]), "scores")
    return np.log(np.clip(p, 1e-12, 1)), p


def _loss(p: Floats, y: np.ndarray) -> float:
    return float(quantities.log_loss_values(p[np.arange(len(y)), y]).mean())


def _temperature(y: np.ndarray, z: Floats) -> Floats:
    rows = np.arange(len(y))

    def loss(log_t: float) -> float:
        return float(-special.log_softmax(z * np.exp(-log_t), axis=1)[rows, y].mean())

    found = optimize.minimize_scalar(
        loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10}
    )
    return np.array(np.exp(found.x))


def _linear(y: np.ndarray, z: Floats, *, full: bool, penalty: float) -> dict[str, Floats]:
    n, k = z.shape
    hot = np.zeros((n, k))
    hot[np.arange(n), y] = 1
    off = 1 - np.eye(k)

    def unpack(v: Floats) -> tuple[Floats, Floats]:
        return (v[:-k].reshape(k, k) if full else v[:-k]), v[-k:]

    def loss(v: Floats) -> tuple[float, Floats]:
        w, b = unpack(v)
        out = (z @ w.T if full else z * w) + b
        gap = (special.softmax(out, axis=1) - hot) / n
        value = -special.log_softmax(out, axis=1)[np.arange(n), y].mean()
        dw = gap.T @ z if full else (gap * z).sum(axis=0)
        db = gap.sum(axis=0)
        if penalty:
            value += penalty * ((w * off) ** 2).sum() / max(k * (k - 1), 1)
            value += penalty * (b**2).mean()
            dw = dw + 2 * penalty * w * off / max(k * (k - 1), 1)
            db = db + 2 * penalty * b / k
        return float(value), np.concatenate([np.ravel(dw), db])

    start = np.concatenate([(np.eye(k) if full else np.ones(k)).ravel(), np.zeros(k)])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    w, b = unpack(found.x)
    return {"weights": w, "biases": b}


def _logistic(design: Floats, target: Floats, lower: list[float | None]) -> Floats:
    """Logistic regression with bounds below on some coefficients."""
    n = len(target)

    def loss(v: Floats) -> tuple[float, Floats]:
        u = design @ v
        value = np.mean(np.logaddexp(0, u) - target * u)
        return float(value), design.T @ (special.expit(u) - target) / n

    start = np.zeros(design.shape[1])
    start[: design.shape[1] - 1] = 1.0
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    bounds = [(low, None) for low in lower]
    return optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    ).x


def _platt(y: Floats, p: Floats) -> dict[str, Floats]:
    # Platt's targets keep the fit finite for separable classes.
    up, down = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (up + 1) / (up + 2), 1 / (down + 2))
    design = np.stack([special.logit(p), np.ones_like(p)], axis=1)
    a, b = _logistic(design, target, [None, None])
    return {"slope": np.array(a), "intercept": np.array(b)}


def _beta(y: Floats, p: Floats) -> dict[str, Floats]:
    design = np.stack([np.log(p), -np.log1p(-p), np.ones_like(p)], axis=1)
    a, b, c = _logistic(design, y, [0.0, 0.0, None])
    return {"a": np.array(a), "b": np.array(b), "c": np.array(c)}


def _isotonic(y: Floats, p: Floats) -> dict[str, Floats]:
    x, inverse, count = np.unique(p, return_inverse=True, return_counts=True)
    share = np.bincount(inverse, y) / count
    level = optimize.isotonic_regression(share, weights=count).x
    # The ends of each block suffice: between blocks the map is linear.
    ends = np.ones(x.size, bool)
    ends[1:-1] = (level[1:-1] != level[:-2]) | (level[1:-1] != level[2:])
    return {"x": x[ends], "y": level[ends]}


def _apply(c: Calibrator, z: Floats, p: Floats) -> Floats:
    q = c.parameters
    if c.method == "temperature":
        return special.softmax(z / q["temperature"], axis=1)
    if c.method == "vector":
        return special.softmax(z * q["weights"] + q["biases"], axis=1)
    if c.method == "dirichlet":
        return special.softmax(np.log(np.clip(p, 1e-12, 1)) @ q["weights"].T + q["biases"], axis=1)

    def one(i: int) -> Floats:
        return _one(c.method, q, i, np.clip(p[:, i], 1e-12, 1 - 1e-12))

    if c.classes == 2:
        positive = one(1)
        return np.stack([1 - positive, positive], axis=1)
    each = np.stack([one(i) for i in range(c.classes)], axis=1)
    total = each.sum(axis=1, keepdims=True)
    return np.where(total > 0, each / np.where(total > 0, total, 1), 1 / c.classes)


def _one(method: str, q: Mapping[str, Floats], i: int, p: Floats) -> Floats:
    if method == "platt":
        return special.expit(q[f"slope{i}"] * special.logit(p) + q[f"intercept{i}"])
    if method == "beta":
        return special.expit(q[f"a{i}"] * np.log(p) - q[f"b{i}"] * np.log1p(-p) + q[f"c{i}"])
    return np.interp(p, q[f"x{i}"], q[f"y{i}"])
