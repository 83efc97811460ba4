"""A trained network of times to an event, on images, records or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxmed.core import Array, Network, PyTree, as_network, pick
from jaxmed.inference._image_model import ImageRecipe
from jaxmed.inference._segmenter import mean_of_members
from jaxmed.losses import discrete_survival


@dataclass(frozen=True)
class SurvivalRecipe:
    """What a network of times is given, and how its answer is read.

    Attributes:
        net: a fused network (:func:`jaxmed.paradigms.fuse`) of ``image``, ``record`` or both.
            Its ``logits`` are hazards of intervals (batch, intervals), or with `baseline` a log
            hazard (batch, 1).
        times: ends of the intervals, at which survival is predicted.
        baseline: cumulative hazard at these times of a case whose log hazard is 0, of several
            members one after the other; () of hazards.
        image: preparation of the image, if there is one; its network is not used.
        records: names of the record's columns.
        categories: the values of each column of words; () of numbers.
        unit: of time.
        members: how many networks of that kind are averaged; their parameters are stacked.
    """

    net: Network | nn.Module
    times: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    image: ImageRecipe | None = None
    records: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    unit: str = ""
    members: int = 1

    def __post_init__(self) -> None:
        if self.image is None and not self.records:
            raise ValueError("a network of times needs an image or records")
        if len(self.categories) != len(self.records):
            raise ValueError(
                f"categories are one for each of the records {self.records}, got {self.categories}"
            )
        if self.members < 1:
            raise ValueError(f"members is at least 1, got {self.members}")
        wanted = self.members * len(self.times)
        if self.baseline and len(self.baseline) != wanted:
            raise ValueError(
                f"baseline is one number a time and member, {wanted}, got {len(self.baseline)}"
            )

    task: ClassVar[str] = "survival"

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
    """A network of times to an event, with its weights; made by :func:`survival_model`.

    Attributes:
        recipe: preparation of a case.
        params: the network's parameters.
        state: the network's state.
        apply: ``(params, state, inputs) -> (batch, times)``, compiled at the first call.
    """

    recipe: SurvivalRecipe
    params: PyTree
    state: PyTree
    apply: Callable[[PyTree, PyTree, Mapping[str, Any]], Array]

    def survival(self, inputs: Mapping[str, Any], *, at_once: int = 64) -> np.ndarray:
        """Predict the probability of being free of the event at each of the recipe's times.

        Args:
            inputs: ``image`` and ``record`` as far as the recipe has them, and ``present`` (cases,
                names) with the names in alphabetical order.
            at_once: cases of one pass; memory is theirs.

        Returns:
            (cases, times).
        """
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        n = len(next(iter(arrays.values())))
        found = [np.zeros((0, len(self.recipe.times)), np.float32)]
        for begin in range(0, n, at_once):
            # The last piece is filled with the last case: one program serves for all.
            rows = np.minimum(np.arange(begin, begin + min(at_once, n)), n - 1)
            piece = {name: array[rows] for name, array in arrays.items()}
            said = self.apply(self.params, self.state, piece)
            found.append(np.asarray(said)[: n - begin])
        return np.concatenate(found)


def survival_model(recipe: SurvivalRecipe, params: PyTree, state: PyTree) -> SurvivalModel:
    """Combine a recipe and weights.

    Args:
        recipe: the recipe.
        params: parameters of ``recipe.network()``.
        state: likewise.

    Returns:
        The model.

    Examples:
        >>> from jaxmed.networks import tabular
        >>> from jaxmed.paradigms import fuse
        >>> net = fuse({"record": tabular((0,), hidden=(4,))}, classes=2)
        >>> recipe = SurvivalRecipe(net, times=(6.0, 12.0), records=("age",), categories=((),))
        >>> cases = {"record": np.array([[61.0], [48.0]], np.float32), "present": np.ones((2, 1))}
        >>> survival_model(recipe, *net.init(jax.random.key(0), cases)).survival(cases).shape
        (2, 2)
    """
    network = recipe.network()
    shape = (len(recipe.times),) if recipe.members == 1 else (recipe.members, len(recipe.times))
    baseline = jnp.reshape(jnp.array(recipe.baseline), shape) if recipe.baseline else None

    @jax.jit
    def apply(params: PyTree, state: PyTree, inputs: Mapping[str, Any]) -> Array:
        def of_one(params: PyTree, state_and_baseline: Any) -> Array:
            state, cumulative = state_and_baseline
            logits = pick(network.apply(params, state, dict(inputs))[0], "logits", "network")
            if cumulative is None:
                return discrete_survival(logits, edges=recipe.times)
            return jnp.exp(-jnp.exp(logits) * cumulative)

        return mean_of_members(of_one, params, (state, baseline), recipe.members)

    return SurvivalModel(recipe, params, state, apply)
