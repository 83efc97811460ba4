"""Knowledge of structures, in training and in prediction."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxmed import stats
from jaxmed.core import Objective, network_inputs, pick, stream, weighted_mean
from jaxmed.paradigms.base._added import added
from jaxmed.paradigms.base._schedules import Scheduled, advance, check_weight, counter_for, value_at
from jaxmed.paradigms.base._views import row_weights
from jaxmed.rules.maps._neighbours import Axes
from jaxmed.rules.maps._premises import Apart, Before, Enclosed, MapPremise, OnePiece, Size

_SWEEPS = 20
_LOST = 100.0  # Nats: more than any voxel is certain by.


@dataclasses.dataclass(frozen=True, repr=False)
class Anatomy:
    """Premises about the structures of an image; made by :func:`anatomy`.

    Attributes:
        classes: the structures by name, in the order of a network's outputs; the first is usually
            the background.
        premises: what is known of them.
    """

    classes: tuple[str, ...]
    premises: tuple[MapPremise, ...]

    def numbers(self, premise: MapPremise) -> list[int]:
        """The numbers of the structures of a premise."""
        return [self.classes.index(name) for name in premise.names()]

    def broken(self, mask: ArrayLike) -> dict[str, int]:
        """In how many voxels a mask (*spatial) of class numbers breaks each premise.

        Raises:
            ValueError: for a mask that is none of class numbers.
        """
        found = _mask(mask, len(self.classes))
        return {str(p): p.broken(found, self.numbers(p)) for p in self.premises}

    def __repr__(self) -> str:
        return f"Anatomy of {', '.join(self.classes)}: {'; '.join(map(str, self.premises))}"


class DeducedMask(NamedTuple):
    """A mask that was mended to satisfy premises; made by :func:`deduce_mask`.

    Attributes:
        mask: (*spatial) class numbers.
        before: premise, in words, to how many voxels of the most probable mask broke it.
        left: the same of ``mask``: 0 where mending came to an end.
        changed: number of voxels changed.
    """

    mask: NDArray[np.intp]
    before: dict[str, int]
    left: dict[str, int]
    changed: int

    def __repr__(self) -> str:
        lines = [f"DeducedMask of {self.mask.shape}, {self.changed} voxels changed"]
        for text, count in self.before.items():
            after = f", {self.left[text]} still" if self.left[text] else ""
            lines.append(f"  {text}: broken in {count} voxels{after}")
        return "\n".join(lines)


def encloses(outer: str, inner: str, *, axes: Axes = None) -> MapPremise:
    """A structure touches nothing but itself and the one around it: a cavity its wall.

    Args:
        outer: what encloses.
        inner: what is enclosed. The edge of the image is no neighbour.
        axes: spatial axes along which it is: those of the plane for stacks of slices, of which the
            first and the last are open. All by default.

    >>> print(encloses("myocardium", "cavity", axes=(0, 1)))
    myocardium encloses cavity
    """
    return Enclosed(inner, outer, axes)


def inside(inner: str, outer: str, *, axes: Axes = None) -> MapPremise:
    """As :func:`encloses`, said of the structure inside."""
    return Enclosed(inner, outer, axes)


def not_touching(first: str, second: str, *, axes: Axes = None) -> MapPremise:
    """Two structures have no voxels side by side."""
    return Apart(first, second, axes)


def one_component(name: str) -> MapPremise:
    """A structure is in one piece. It costs nothing in training, for it has no slope."""
    return OnePiece(name)


def volume_between(name: str, low: float, high: float) -> MapPremise:
    """A structure, wherever it is to be expected, has no fewer and no more voxels.

    In voxels of the grid on which it is used: a volume over that of a voxel.

    Raises:
        ValueError: if the limits are negative or exchanged.
    """
    if not 0 <= low <= high:
        raise ValueError(f"limits are 0 <= low <= high, got {low} and {high}")
    return Size(name, low, high)


def left_of(first: str, second: str, *, axis: int = 0) -> MapPremise:
    """The centre of a structure lies nearer to the beginning of an axis than another's.

    Of volumes in RAS+ orientation, as :func:`jaxmed.data.read_image` gives them canonically, axis 0
    begins at the patient's left. Where a structure is absent it holds. It is mended by exchanging
    the two names.
    """
    return Before(first, second, axis)


def anatomy(classes: Sequence[str], *premises: MapPremise) -> Anatomy:
    """Compile premises about structures.

    Args:
        classes: the structures, in the order of a network's outputs.
        *premises: such as :func:`encloses` and :func:`one_component` make them.

    Returns:
        The knowledge.

    Raises:
        ValueError: for no premise, a structure twice, a premise about another one, two premises
            that differ and are said in the same words, or two that contradict each other wherever
            their structures are present.

    Examples:
        >>> heart = anatomy(("background", "myocardium", "cavity"),
        ...     encloses("myocardium", "cavity"), one_component("cavity"))
        >>> heart.broken([[0, 2, 0], [1, 2, 1], [1, 1, 1]])
        {'myocardium encloses cavity': 1, 'cavity is in one piece': 0}
    """
    classes = tuple(classes)
    if not premises:
        raise ValueError("an anatomy has a premise or more")
    if len(set(classes)) < len(classes):
        raise ValueError(f"a structure is named twice: {classes}")
    for premise in premises:
        if not isinstance(premise, MapPremise):
            raise ValueError(f"a premise is made by encloses, one_component, ...; got {premise!r}")
        names = premise.names()
        if unknown := [name for name in names if name not in classes]:
            raise ValueError(f"{premise} is about {unknown[0]!r}; the structures are {classes}")
        if len(set(names)) < len(names):
            raise ValueError(f"{premise} is about one structure twice")
    for first, second in itertools.combinations(premises, 2):
        if str(first) == str(second) and first != second:
            raise ValueError(f"{first}: said twice, with other axes or limits; keep one of the two")
        if _contradict(first, second):
            raise ValueError(f"the premises contradict each other: {first}; {second}")
    return Anatomy(classes, premises)


def _contradict(first: MapPremise, second: MapPremise) -> bool:
    """Whether no image with all of their structures satisfies two premises."""
    if isinstance(first, Size) and isinstance(second, Size):
        apart = first.low > second.high or second.low > first.high
        return first.name == second.name and apart
    if isinstance(first, Enclosed) and isinstance(second, Enclosed):
        same = first.inner == second.inner and first.axes == second.axes
        return same and first.outer != second.outer
    if isinstance(first, Before) and isinstance(second, Before):
        turned = first.names() == second.names()[::-1]
        return turned and first.axis == second.axis
    kinds = {type(first): first, type(second): second}
    if kinds.keys() == {Enclosed, Apart}:
        return set(first.names()) == set(second.names()) and first.axes == second.axes  # pyright: ignore
    return False


def constrained_maps(
    objective: Objective,
    known: Anatomy,
    *,
    weight: Scheduled = 1.0,
    output: str = "logits",
    inputs: str = "unlabelled",
) -> Objective:
    r"""Add what it costs that predicted structures break premises.

    The truth of two statements is the product of their probabilities: a voxel that is inside with
    probability p beside one that is neither inside nor the wall with probability q costs p q. Sums
    are over voxels and neighbours, divided by the number of voxels. Certain masks that satisfy the
    premises cost nothing.

    Args:
        objective: what is learned from labels.
        known: the premises; its classes are the output's channels, in their order.
        weight: of the cost, or a function of the step.
        output: the endpoint, logits ``(batch, *spatial, classes)``.
        inputs: the images; ``"image"`` for those with labels.

    Returns:
        The objective, with the metric ``broken``.

    Raises:
        ValueError: if the weight is negative or not finite; when traced, if the output has another
            number of channels or no spatial axes.
    """
    check_weight(weight)

    def init(key, network, params, state, batch):
        return {}, counter_for(weight)

    def loss(network, params, state, batch, key):
        key = stream(key, "constrained_maps")
        endpoints, net = network.apply(
            params["net"], state["net"], network_inputs(batch, inputs), key=key, train=True
        )
        logits = pick(endpoints, output, "network").astype(jnp.float32)
        if logits.ndim < 3 or logits.shape[-1] != len(known.classes):
            raise ValueError(
                f"{output!r} must be (batch, *spatial, {len(known.classes)}) of {known.classes}, "
                f"got {logits.shape}"
            )
        p = jax.nn.softmax(logits, axis=-1)
        cost = sum(premise.cost(p, known.numbers(premise)) for premise in known.premises)
        value = weighted_mean(jnp.asarray(cost), row_weights(batch, inputs))
        return value_at(weight, state["obj"]) * value, ({**state, "net": net}, {"broken": value})

    return added(objective, Objective(init, loss, lambda params, state: advance(state)))


def deduce_mask(known: Anatomy, probabilities: ArrayLike) -> DeducedMask:
    """Mend the most probable mask of an image until it satisfies all premises.

    An approximation: premises are mended in their order, in turn, each by changing the voxels whose
    change costs least probability, until none is broken or a limit of sweeps is reached.

    Args:
        known: the premises.
        probabilities: (*spatial, classes) of one image.

    Returns:
        The mask, and what the premises changed. ``left`` is 0 everywhere where it succeeded.

    Raises:
        ValueError: for another number of classes, or what is no probability.

    Examples:
        >>> heart = anatomy(("background", "wall", "cavity"), encloses("wall", "cavity"))
        >>> p = np.full((1, 4, 3), 0.1)
        >>> for place, name in enumerate((1, 2, 2, 0)):
        ...     p[0, place, name] = 0.8
        >>> p[0, 3] = 0.5, 0.4, 0.1  # unsure background beside the cavity
        >>> deduce_mask(heart, p).mask.tolist()
        [[1, 2, 2, 1]]
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim < 2 or p.shape[-1] != len(known.classes) or not p.size:
        raise ValueError(
            f"probabilities must be (*spatial, {len(known.classes)}), a voxel or more, got the "
            f"shape {p.shape}"
        )
    if not np.isfinite(p).all() or p.min() < -1e-6 or not np.allclose(p.sum(-1), 1, atol=1e-3):
        raise ValueError("probabilities must be finite, not negative, and add up to 1")
    log_p = np.log(np.maximum(p, 1e-12))
    first = p.argmax(-1)
    before = known.broken(first)
    best, least, mask = first, sum(before.values()), first
    for _ in range(_SWEEPS):
        if not least:
            break
        for premise in known.premises:
            at = known.numbers(premise)
            if premise.broken(mask, at):
                mended = premise.mended(mask, log_p, at)
                # A class that a voxel has lost comes last, or two premises undo each other.
                lost = np.nonzero(mended != mask)
                log_p[(*lost, mask[lost])] -= _LOST
                mask = mended
        now = sum(known.broken(mask).values())
        if now < least:
            best, least = mask, now
    return DeducedMask(best, before, known.broken(best), int((best != first).sum()))


def broken_masks(
    known: Anatomy,
    masks: Iterable[ArrayLike],
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> dict[str, stats.Estimate]:
    """Estimate how often masks break each premise: the labels', before it is taught.

    Args:
        known: the premises.
        masks: (*spatial) class numbers, of each case.
        groups: (cases,) patient of each case.
        level: confidence level.

    Returns:
        Premise, in words, to the share of cases that break it; ``details["voxels"]`` are how many
        of each case's voxels do.

    Raises:
        ValueError: for no mask, or one that is none of class numbers.
    """
    counts = [known.broken(mask) for mask in masks]
    if not counts:
        raise ValueError("there is no mask")
    found = {}
    for text in counts[0]:
        voxels = np.array([count[text] for count in counts])
        wrong = voxels > 0
        if groups is None:
            estimate = stats.proportion(int(wrong.sum()), len(wrong), level=level)
        else:
            estimate = stats.clustered_proportion(wrong, groups, level=level)
        details = {**estimate.details, "voxels": voxels.tolist()}
        found[text] = dataclasses.replace(estimate, name=f"broken: {text}", details=details)
    return found


def _mask(mask: ArrayLike, classes: int) -> NDArray[np.intp]:
    found = np.asarray(mask)
    if found.ndim < 1 or found.dtype.kind not in "iub":
        raise ValueError(f"a mask is (*spatial) whole numbers, got {found.shape} {found.dtype}")
    if not found.size:
        raise ValueError(f"a mask has a voxel or more, got the shape {found.shape}")
    if found.min() < 0 or found.max() >= classes:
        raise ValueError(
            f"a mask's numbers are 0 to {classes - 1}, got {found.min()} to {found.max()}"
        )
    return found.astype(np.intp)
