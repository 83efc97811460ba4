"""Optimizers and learning-rate schedules by name: thin builders over Optax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import optax

from jaxmed.core import path_mask
from jaxmed.train._accumulate import accumulated

Name = Literal["sgd", "momentum", "adam", "adamw", "rmsprop"]
Schedule = Literal["constant", "cosine", "warmup_cosine", "poly", "multistep"]


def schedule(
    name: Schedule,
    learning_rate: float,
    steps: int,
    *,
    warmup: int | None = None,
    power: float = 0.9,
    at: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
    end: float = 0.0,
    cycles: int = 1,
) -> optax.Schedule:
    """A learning rate as a function of the step.

    With ``t`` the step after the warm-up and ``T = steps - warmup`` (a part of it, of ``cycles``):

    - ``constant``: ``learning_rate``
    - ``cosine``, ``warmup_cosine``: from it to ``end`` along ``(1 + cos(pi t / T)) / 2``
    - ``poly``: from it to ``end`` along ``(1 - t / T) ** power``; 0.9 is nnU-Net's
    - ``multistep``: times ``factor`` from each of ``at * T`` on; the defaults are MedMNIST's

    Args:
        name: one of these.
        learning_rate: the greatest.
        steps: of the whole run, warm-up included.
        warmup: steps in which it rises linearly from 0; none by default, a twentieth of all
            for ``warmup_cosine``.
        power: of ``poly``.
        at: the fractions of ``multistep``.
        factor: of ``multistep``.
        end: the last learning rate of ``cosine`` and ``poly``.
        cycles: how many times the rate falls and begins anew after the warm-up (warm restarts), as
            :func:`snapshots` wants it.

    Returns:
        ``step -> learning rate``.

    Raises:
        ValueError: if the name is unknown, the warm-up as long as the run, or what is left does not
            divide into the cycles.

    >>> rate = schedule("multistep", 1e-3, 100)
    >>> [round(float(rate(step)), 6) for step in (0, 49, 50, 75)]
    [0.001, 0.001, 0.0001, 1e-05]

    References:
        Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, ICLR;
        Isensee et al. (2021), nnU-Net, Nature Methods; Yang et al. (2023), MedMNIST v2, Scientific
        Data.
    """
    if warmup is None:
        warmup = math.ceil(steps / 20) if name == "warmup_cosine" else 0
    rest = steps - warmup
    if warmup < 0 or rest < 1:
        raise ValueError(f"a warm-up of {warmup} steps leaves nothing of a run of {steps}")
    if cycles < 1 or rest % cycles:
        raise ValueError(f"{rest} steps after the warm-up do not divide into {cycles} cycles")
    rest //= cycles
    if name == "constant":
        after = optax.constant_schedule(learning_rate)
    elif name in ("cosine", "warmup_cosine"):
        after = optax.cosine_decay_schedule(learning_rate, rest, alpha=end / learning_rate)
    elif name == "poly":
        after = optax.polynomial_schedule(learning_rate, end, power, rest)
    elif name == "multistep":
        after = optax.piecewise_constant_schedule(
            learning_rate, {int(fraction * rest): factor for fraction in at}
        )
    else:
        raise ValueError(
            f"unknown schedule {name!r}: constant, cosine, warmup_cosine, poly or multistep"
        )
    if cycles > 1:
        # Beyond the last cycle the rate stays where it ended.
        once, whole = after, cycles * rest
        after = lambda t: once(jnp.where(t < whole, t % rest, rest))  # noqa: E731
    if not warmup:
        return after
    return optax.join_schedules(
        [optax.linear_schedule(0.0, learning_rate, warmup), after], [warmup]
    )


def optimizer(
    name: Name,
    learning_rate: float | optax.Schedule,
    *,
    schedule: Schedule | None = None,
    steps: int | None = None,
    warmup: int | None = None,
    momentum: float | None = None,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_only: str = "(kernel|embedding)$",
    clip: float | None = None,
    accumulate: int = 1,
) -> optax.GradientTransformationExtraArgs:
    """An optimizer by name.

    Gradients are clipped to a global norm, decayed, made into a step. ``adamw`` decays
    decoupled from the gradient, as its paper says; all others add ``weight_decay`` times the
    parameter to the gradient (an L2 penalty), as PyTorch's do.

    Args:
        name: ``"sgd"``, ``"momentum"`` (SGD with momentum 0.9), ``"adam"``, ``"adamw"``,
            ``"rmsprop"``.
        learning_rate: a number, or an Optax schedule.
        schedule: the name of one, for :func:`schedule`; then ``steps`` too.
        steps: of the whole run, as :func:`fit` counts them: ``epochs * len(batches)``.
        warmup: steps of linear rise.
        momentum: of ``sgd``, ``momentum``, ``rmsprop``; the first moment's decay of ``adam`` and
            ``adamw``.
        nesterov: whether the momentum is Nesterov's.
        weight_decay: its strength.
        decay_only: a regular expression; only parameters whose path matches it decay. By default
            kernels: no bias, no scale of a normalization.
        clip: the greatest global norm of the gradient.
        accumulate: how many steps' gradients are averaged for one update, each by the weight of
            its batch's examples, so that padding rows do not count. The schedule's steps are still
            :func:`fit`'s.

    Returns:
        The Optax transformation.

    Raises:
        ValueError: if a name is unknown, or ``schedule`` comes without ``steps``.

    >>> adam = optimizer("adam", 1e-3, schedule="multistep", steps=500)
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}")
    rate = _rate(learning_rate, schedule, steps, warmup, accumulate)
    mask = path_mask(decay_only)
    first = 0.9 if momentum is None else momentum
    if name == "sgd":
        rule = optax.sgd(rate, momentum, nesterov)
    elif name == "momentum":
        rule = optax.sgd(rate, first, nesterov)
    elif name == "adam":
        rule = optax.adam(rate, b1=first, nesterov=nesterov)
    elif name == "adamw":
        rule = optax.adamw(rate, b1=first, nesterov=nesterov, weight_decay=weight_decay, mask=mask)
    elif name == "rmsprop":
        rule = optax.rmsprop(rate, momentum=momentum, nesterov=nesterov)
    else:
        raise ValueError(f"unknown optimizer {name!r}: sgd, momentum, adam, adamw or rmsprop")
    parts = [rule]
    if weight_decay and name != "adamw":
        parts.insert(0, optax.add_decayed_weights(weight_decay, mask))
    if clip is not None:
        parts.insert(0, optax.clip_by_global_norm(clip))
    whole = optax.with_extra_args_support(optax.chain(*parts))
    return accumulated(whole, accumulate) if accumulate > 1 else whole


_schedule = schedule


def _rate(
    learning_rate: float | optax.Schedule,
    schedule: Schedule | None,
    steps: int | None,
    warmup: int | None,
    accumulate: int,
) -> float | optax.Schedule:
    """The learning rate by the optimizer's own count of updates."""
    if schedule is not None:
        if callable(learning_rate):
            raise ValueError("a named schedule needs a number as the learning rate")
        if steps is None:
            raise ValueError(f"the schedule {schedule!r} needs steps= of the whole run")
        learning_rate = _schedule(schedule, learning_rate, steps, warmup=warmup)
    elif warmup is not None:
        raise ValueError("warmup= goes with a named schedule")
    if accumulate == 1 or not callable(learning_rate):
        return learning_rate
    by_step = learning_rate
    return lambda count: by_step(count * accumulate)
