"""A trained network of times to an event, on images, records or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Network, PyTree, as_network
from jaxmed.inference._image_model import ImageRecipe
from jaxmed.losses import discrete_survival


@dataclass(frozen=True)
class SurvivalRecipe:
    """What a network of times is given, and how its answer is read.

    Attributes:
        net: a fused network (:func:`jaxmed.paradigms.fuse`) of ``image``, ``record`` or both.
            Its ``logits`` are hazards of intervals (batch, intervals), or with `baseline` a log
            hazard (batch, 1).
        times: ends of the intervals, at which survival is predicted.
        baseline: cumulative hazard at these times of a case whose log hazard is 0; () of hazards.
        image: preparation of the image, if there is one; its network is not used.
        records: names of the record's columns.
        categories: the values of each column of words; () of numbers.
        unit: of time.
    """

    net: Network | nn.Module
    times: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    image: ImageRecipe | None = None
    records: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        if self.image is None and not self.records:
            raise ValueError("a network of times needs an image or records")
        if len(self.categories) != len(self.records):
            raise ValueError(
                f"categories are one for each of the records {self.records}, got {self.categories}"
            )
        if self.baseline and len(self.baseline) != len(self.times):
            raise ValueError(f"baseline is one number a time, {len(self.times)}")

    task: ClassVar[str] = "survival"
    members: ClassVar[int] = 1

    def network(self) -> Network:
        """Build the network, without weights."""
        return as_network(self.net)

    def example(self) -> dict[str, Any]:
        """Shapes of what the network is given of one case."""
        given: dict[str, Any] = {}
        if self.image is not None:
            shape = (1, *self.image.shape, self.image.inputs)
            given["image"] = jax.ShapeDtypeStruct(shape, jnp.float32)
        if self.records:
            given["record"] = jax.ShapeDtypeStruct((1, len(self.records)), jnp.float32)
        return {**given, "present": jax.ShapeDtypeStruct((1, len(given)), jnp.float32)}


class SurvivalModel(NamedTuple):
    """A trained network of times; see :func:`jaxmed.inference.save_model` to keep it."""

    recipe: SurvivalRecipe
    params: PyTree
    state: PyTree

    def survival(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Predict the probability of being free of the event at each of the recipe's times.

        Args:
            inputs: ``image`` and ``record`` as far as the recipe has them, and ``present`` (cases,
                names) with the names in alphabetical order.

        Returns:
            (cases, times).
        """
        recipe = self.recipe
        endpoints, _ = recipe.network().apply(self.params, self.state, dict(inputs))
        logits = endpoints["logits"]
        if not recipe.baseline:
            return np.asarray(discrete_survival(logits, edges=recipe.times))
        return np.exp(-np.exp(np.asarray(logits, np.float64)) * np.array(recipe.baseline))
