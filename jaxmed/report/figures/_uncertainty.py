"""Figures of uncertainty: maps over an image, set sizes, risk against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxmed import quantities
from jaxmed.report.figures._gallery import to_display
from jaxmed.report.figures._style import GRID, INK, MUTED, colour_of, new_figure, style


def uncertainty_map_figure(
    image: ArrayLike,
    sample_probs: ArrayLike,
    *,
    truth: ArrayLike | None = None,
    classes: Sequence[str] = (),
    aspect: float = 1.0,
) -> Figure:
    """Draw an image, its segmentation, and maps of the segmentation's uncertainty.

    Args:
        image: (height, width) or (height, width, channels).
        sample_probs: (samples, height, width, classes) of a posterior.
        truth: (height, width) classes, outlined in white if given.
        classes: names, the background first.
        aspect: height of a pixel over its width.

    Returns:
        Four panels: the image with the predicted outlines, the total entropy, its aleatoric part
        (irreducible by more data) and the mutual information (reducible); the three maps share
        one scale in nats.

    Raises:
        ValueError: for shapes that do not fit, or logits.
    """
    from jaxmed import bayes  # the network half of the subpackage imports JAX

    p = np.asarray(sample_probs)
    shown = to_display(image)
    shown = shown[..., 0] if shown.ndim == 3 and shown.shape[-1] == 1 else shown  # grey
    if p.ndim != 4 or p.shape[1:3] != shown.shape[:2]:
        raise ValueError(
            f"sample_probs must be (samples, {shown.shape[0]}, {shown.shape[1]}, classes), "
            f"not {p.shape}"
        )
    parts = bayes.decompose(p)
    called = quantities.largest(parts.mean)
    top = max(float(parts.total.max()), 1e-6)
    with style():
        figure, axes = new_figure(9.6, 2.9, columns=4)
        grey = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
        axes[0].imshow(grey, aspect=aspect, interpolation="nearest")
        for c in range(1, p.shape[-1]):
            name = classes[c] if c < len(classes) else f"class {c}"
            _outline(axes[0], called == c, colour_of(c - 1))
            if (called == c).any():
                axes[0].plot([], [], color=colour_of(c - 1), label=name)
        if truth is not None:
            for c in range(1, p.shape[-1]):
                _outline(axes[0], np.asarray(truth) == c, "white", "--")
        axes[0].set_title("Prediction" if truth is None else "Prediction, truth dashed")
        if len(axes[0].get_legend_handles_labels()[0]) in range(1, 5):
            axes[0].legend(loc="lower left", labelcolor="white", fontsize=7, handlelength=1.2)
        titles = ("Entropy", "Aleatoric", "Mutual inf.")
        maps = (parts.total, parts.aleatoric, parts.epistemic)
        for axis, title, values in zip(axes[1:], titles, maps):
            drawn = axis.imshow(
                values, aspect=aspect, cmap="magma", vmin=0, vmax=top, interpolation="nearest"
            )
            axis.set_title(f"{title}, mean {values.mean():.3f}")
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        bar = figure.colorbar(drawn, ax=list(axes[1:]), shrink=0.8, pad=0.01)
        bar.set_label("nats")
        bar.outline.set_visible(False)
    return figure


def _outline(axes: Any, mask: np.ndarray, colour: str, dash: str = "-") -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=colour, linewidths=1.4, linestyles=dash)


def set_size_figure(labels: ArrayLike, sets: ArrayLike, *, level: float | None = None) -> Figure:
    """Draw the sizes of prediction sets, and the coverage by size.

    Args:
        labels: (cases,) true classes.
        sets: (cases, classes) booleans, as returned by `jaxmed.bayes.predict_sets`.
        level: target coverage, drawn as a line.

    Returns:
        Bars by size, split into sets with and without the truth, with the coverage above each.
    """
    from jaxmed import bayes  # the network half of the subpackage imports JAX

    member = np.asarray(sets, bool)
    found = bayes.summarise_sets(labels, member)
    size = member.sum(axis=1)
    hit = member[np.arange(len(member)), np.asarray(labels).astype(int).reshape(-1)]
    sizes = np.arange(0, member.shape[1] + 1)
    with_truth = np.array([(hit & (size == s)).sum() for s in sizes])
    without = np.array([(~hit & (size == s)).sum() for s in sizes])
    with style():
        figure, (axes,) = new_figure(4.6, 3.4)
        axes.bar(sizes, with_truth, color=colour_of(0), label="holds the truth", width=0.8)
        axes.bar(
            sizes, without, bottom=with_truth, color=colour_of(1), label="misses it", width=0.8,
            hatch="//", edgecolor=GRID, linewidth=0,
        )  # fmt: skip
        for s in sizes:
            n = int(with_truth[s] + without[s])
            if n:
                axes.text(s, n, f"{with_truth[s] / n:.0%}", ha="center", va="bottom", color=INK)
        asked = "" if level is None else f" (asked {level:.0%})"
        axes.set(
            xlabel="Classes in the set", ylabel="Cases", xticks=sizes,
            title=f"Prediction sets: coverage {found.coverage:.1%}{asked}",
        )  # fmt: skip
        axes.margins(y=0.25)  # space for the legend above the bars
        axes.legend(loc="upper center", ncols=2)
    return figure


def risk_coverage_figure(
    losses: ArrayLike,
    confidence: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
    unit: str = "Error rate",
) -> Figure:
    """Draw the error among the answered cases against the share answered.

    Args:
        losses: (cases,) 0/1 errors or other losses.
        confidence: (cases,) higher is surer.
        level: confidence level of the pointwise bootstrap band.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        unit: name of the loss.

    Returns:
        The curve with its band, the best possible order of the same losses, and a random order.
    """
    from jaxmed import bayes  # the network half of the subpackage imports JAX

    loss, sure = np.asarray(losses, float), np.asarray(confidence, float)
    curve, scores = bayes.risk_coverage(loss, sure), bayes.selective_scores(loss, sure)
    best = np.cumsum(np.sort(loss)) / np.arange(1, loss.size + 1)
    rng = np.random.default_rng(seed)
    draws = np.stack(
        [
            bayes.risk_coverage(loss[rows], sure[rows]).risk
            for rows in rng.integers(0, loss.size, (resamples, loss.size))
        ]
    )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    # The first few cases contain one error or none: their band is uninformative.
    shown = curve.coverage >= min(0.05, 5 / loss.size)
    with style():
        figure, (axes,) = new_figure(4.6, 3.6)
        axes.fill_between(
            curve.coverage[shown], low[shown], high[shown], color=colour_of(0), alpha=0.16,
            linewidth=0, label=f"{100 * level:g}% band (bootstrap, pointwise)",
        )  # fmt: skip
        axes.plot(curve.coverage, curve.risk, color=colour_of(0), label="by confidence")
        axes.plot(curve.coverage, best, color=MUTED, linestyle="--", label="best order")
        axes.axhline(loss.mean(), color=MUTED, linewidth=1, linestyle=":", label="random order")
        axes.set(
            xlabel="Coverage: share of cases answered", ylabel=f"{unit} among these",
            xlim=(0, 1.01), title=f"Risk and coverage: AURC {scores.aurc:.4f}",
        )  # fmt: skip
        axes.set_ylim(0, max(1.25 * float(high[shown].max()), 1e-3))
        axes.legend(loc="upper left")
    return figure


def entropy_figure(sample_probs: ArrayLike, wrong: ArrayLike) -> Figure:
    """Draw the aleatoric against the epistemic part of each case, with errors marked.

    Args:
        sample_probs: (samples, cases, classes) of a posterior.
        wrong: (cases,) whether the mean prediction's class is wrong.
    """
    from jaxmed import bayes  # the network half of the subpackage imports JAX

    parts = bayes.decompose(sample_probs)
    error = np.asarray(wrong, bool)
    with style():
        figure, (axes,) = new_figure(4.6, 3.4)
        for rows, label, colour, mark in (
            (~error, "right", colour_of(0), "o"),
            (error, "wrong", colour_of(1), "x"),
        ):
            axes.scatter(
                parts.aleatoric[rows], parts.epistemic[rows], s=18, alpha=0.75, color=colour,
                marker=mark, label=f"{label} ({int(rows.sum())})", linewidths=1.0,
            )  # fmt: skip
        axes.set(
            xlabel="Aleatoric entropy (nats)", ylabel="Mutual information (nats)",
            title="What the uncertainty is of",
        )  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
    return figure
