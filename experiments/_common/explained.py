"""Why some images that were not learned from were answered so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmed.cli.explain._maps import Case, explain, in_words
from jaxmed.cli.explain._methods import METHODS
from jaxmed.cli.explain._models import Seen
from jaxmed.inference import ImageModel
from jaxmed.report import ExplainedCase, Explanations

# One that asks by slopes and one that covers; both tell a trained network from a random one.
_METHODS = ("integrated-gradients", "occlusion")


def explanations(
    network: ImageModel,
    images: np.ndarray,
    said: np.ndarray,
    labels: np.ndarray,
    cases: Sequence[str],
    *,
    count: int,
    seed: int,
) -> Explanations | None:
    """Maps of the surest answers, wrong ones first, up to half of the count.

    Args:
        network: whose answers are explained.
        images: (n, *shape, channels) as it takes them.
        said: (n, outputs) its probabilities.
        labels: (n,) classes, or (n, outputs) of 0, 1 and NaN.
        cases: their names.
        count: how many are explained.
        seed: of what methods and tests draw.
    """
    if not count or not len(images):
        return None
    target = said.argmax(1)
    sure = said[np.arange(len(said)), target]
    found = labels if labels.ndim == 1 else labels[np.arange(len(said)), target]
    truth = (found == target) if labels.ndim == 1 else (found == 1)
    order = np.argsort(-sure, kind="stable")
    wrong, right = order[~truth[order]], order[truth[order]]
    chosen = [*wrong[: max(count // 2, count - len(right))], *right][:count]
    names = network.recipe.outputs
    shown = [
        Case(
            cases[i],
            Seen(
                images[i],
                f"{names[target[i]]}, probability {sure[i]:.2g}, "
                f"{'right' if truth[i] else 'wrong'}",
                int(target[i]),
            ),
            None,
        )
        for i in chosen
    ]
    made = explain(network, shown, _METHODS, seed, True)
    return Explanations(
        [
            ExplainedCase(
                case.name,
                f"{case.seen.answer}.",
                case.seen.image,
                {name: maps[number] for name, maps in made.maps.items()},
            )
            for number, case in enumerate(shown)
        ],
        {name: METHODS[name].meaning for name in _METHODS},
        in_words(made.tests),
    )
