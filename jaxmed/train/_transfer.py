"""Optimizers that treat parts of a network differently: frozen, slower, later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import jax
import optax

from jaxmed.core import PyTree, flatten_paths, label_paths


def freeze(optimizer: optax.GradientTransformation, pattern: str) -> optax.GradientTransformation:
    """The optimizer, leaving alone what a pattern finds: no gradient, no decay.

    :func:`jaxmed.paradigms.frozen` does so on the network's side, and saves the gradient too.

    Args:
        optimizer: any.
        pattern: a regular expression, searched for in the paths of a learner's parameters, such as
            ``"^net/trunk"``.

    Returns:
        The Optax transformation.

    Raises:
        ValueError: at ``init``, if no parameter matches.

    >>> import jax.numpy as jnp
    >>> rule = freeze(optax.sgd(1.0), "trunk")
    >>> params = {"trunk": jnp.ones(()), "head": jnp.ones(())}
    >>> updates, _ = rule.update(params, rule.init(params), params)
    >>> float(updates["trunk"]), float(updates["head"])
    (0.0, -1.0)
    """
    rules = {"learns": optimizer, "frozen": optax.set_to_zero()}
    split = optax.partition(rules, label_paths({pattern: "frozen"}, default="learns"))
    return _checked(split, [pattern])


def layerwise(
    optimizer: optax.GradientTransformation, rates: Mapping[str, float]
) -> optax.GradientTransformation:
    """The optimizer with its learning rate multiplied layer by layer.

    Args:
        optimizer: any; what it would change a parameter by is multiplied, decoupled weight decay
            included.
        rates: from a regular expression, searched for in a parameter's path, to a factor. The
            first that matches counts; 1 where none does.

    Returns:
        The Optax transformation.

    Raises:
        ValueError: if a factor is negative; at ``init``, if a pattern matches no parameter.

    References:
        Howard and Ruder (2018), Universal language model fine-tuning for text classification, ACL
        (discriminative fine-tuning: each layer down learns 2.6 times slower).

    >>> import jax.numpy as jnp
    >>> rule = layerwise(optax.sgd(1.0), decayed(["head", "top", "stem"], 0.5))
    >>> params = {"stem": jnp.ones(()), "top": jnp.ones(()), "head": jnp.ones(())}
    >>> updates, _ = rule.update(params, rule.init(params), params)
    >>> {name: float(update) for name, update in updates.items()}
    {'head': -1.0, 'stem': -0.25, 'top': -0.5}
    """
    if bad := {pattern: rate for pattern, rate in rates.items() if rate < 0}:
        raise ValueError(f"factors of a learning rate are not negative, got {bad}")
    numbered = label_paths({pattern: str(i) for i, pattern in enumerate(rates)}, default="-")
    factors = {str(i): rate for i, rate in enumerate(rates.values())} | {"-": 1.0}

    def scale(updates: PyTree, _: PyTree) -> PyTree:
        labels = numbered(updates)
        return jax.tree.map(lambda x, label: x * factors[label], updates, labels)

    return _checked(optax.chain(optimizer, optax.stateless(scale)), list(rates))


def decayed(patterns: Sequence[str], decay: float = 1 / 2.6) -> dict[str, float]:
    """Factors for :func:`layerwise` that fall with depth: 1, decay, decay squared, ...

    Args:
        patterns: regular expressions from the head down to the stem.
        decay: of each layer, in (0, 1].

    Raises:
        ValueError: if ``decay`` is outside (0, 1].

    >>> decayed(["head", "stage2", "stage1"], 0.5)
    {'head': 1.0, 'stage2': 0.5, 'stage1': 0.25}
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be in (0, 1], got {decay}")
    return {pattern: decay**i for i, pattern in enumerate(patterns)}


def gradual_unfreezing(
    optimizer: optax.GradientTransformation, patterns: Sequence[str], every: int
) -> optax.GradientTransformation:
    """The optimizer, on one more part of the network after each so many steps.

    The first part learns from the beginning, the next from step ``every`` on, and so on. What no
    pattern matches learns from the beginning. A part's moments, and the count of a schedule,
    begin when it does.

    Args:
        optimizer: any.
        patterns: regular expressions from the head down to the stem, searched for in the paths of
            a learner's parameters. The first that matches counts.
        every: steps.

    Returns:
        The Optax transformation.

    Raises:
        ValueError: if ``every`` is not positive; at ``init``, if a pattern matches no parameter.

    References:
        Howard and Ruder (2018), Universal language model fine-tuning for text classification, ACL.

    >>> import jax.numpy as jnp
    >>> rule = gradual_unfreezing(optax.sgd(1.0), ["head", "trunk"], every=1)
    >>> params = {"trunk": jnp.ones(()), "head": jnp.ones(())}
    >>> state, seen = rule.init(params), []
    >>> for _ in range(2):
    ...     updates, state = rule.update(params, state, params)
    ...     seen.append(float(updates["trunk"]))
    >>> seen
    [0.0, -1.0]
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 step, got {every}")

    def from_step(start: int) -> optax.GradientTransformation:
        if start == 0:
            return optimizer
        return optax.transforms.conditionally_mask(optimizer, lambda step: step >= start)

    rules = {str(i): from_step(i * every) for i in range(max(len(patterns), 1))}
    labels = label_paths({pattern: str(i) for i, pattern in enumerate(patterns)}, default="0")
    return _checked(optax.partition(rules, labels), list(patterns))


def _checked(rule: optax.GradientTransformation, patterns: Sequence[str]):
    """The rule, whose ``init`` refuses patterns that match nothing."""

    def init(params):
        paths = list(flatten_paths(params))
        lost = [p for p in patterns if not any(re.search(p, path) for path in paths)]
        if lost:
            raise ValueError(f"no parameter matches {lost}; there are {paths[:20]}")
        return rule.init(params)

    return rule._replace(init=init)
