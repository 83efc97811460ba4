"""No weight of a loss is negative, infinite or NaN, whatever the paradigm; schedules are left."""

from __future__ import annotations

import inspect

import pytest

import jaxmed as jm
from jaxmed import paradigms, rules
from jaxmed.core import Variables
from jaxmed.paradigms import Consolidated

PLAIN = jm.supervised(jm.losses.cross_entropy)
COST = jm.losses.cross_entropy
KNOWN = rules.knowledge("ab", rules.exactly_one("a", "b"))
HEART = rules.anatomy("ab", rules.one_component("b"))


def view(key, batch):
    return batch


# What each needs beside its weight.
MAKERS = {
    "coral": lambda **w: paradigms.coral(PLAIN, **w),
    "constrained": lambda **w: rules.constrained(PLAIN, KNOWN, **w),
    "constrained_maps": lambda **w: rules.constrained_maps(PLAIN, HEART, **w),
    "cross_pseudo": lambda **w: paradigms.cross_pseudo(PLAIN, **w),
    "dann": lambda **w: paradigms.dann(PLAIN, **w),
    "entropy_minimisation": lambda **w: paradigms.entropy_minimisation(PLAIN, **w),
    "ewc": lambda **w: paradigms.ewc(PLAIN, Consolidated({}, {}), **w),
    "l2_sp": lambda **w: paradigms.l2_sp(PLAIN, **w),
    "learning_loss": lambda **w: paradigms.learning_loss(PLAIN, COST, **w),
    "lwf": lambda **w: paradigms.lwf(PLAIN, Variables({}, {}), **w),
    "mean_teacher": lambda **w: paradigms.mean_teacher(PLAIN, **w),
    "mixmatch": lambda **w: paradigms.mixmatch(view, **w),
    "mmd": lambda **w: paradigms.mmd(PLAIN, **w),
    "pi_model": lambda **w: paradigms.pi_model(PLAIN, **w),
    "pseudo_label": lambda **w: paradigms.pseudo_label(PLAIN, strong=view, **w),
    "replay": lambda **w: paradigms.replay(PLAIN, 4, **w),
    "si": lambda **w: paradigms.si(PLAIN, **w),
    "soft_sharing": lambda **w: paradigms.soft_sharing(PLAIN, ("a", "b"), **w),
    "uncertainty_aware_teacher": lambda **w: paradigms.uncertainty_aware_teacher(PLAIN, **w),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_weight_that_would_reward_is_refused(name):
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight must be finite and not negative"):
            MAKERS[name](weight=wrong)
    MAKERS[name](weight=0)
    with pytest.raises(ValueError, match="strength must be finite"):
        paradigms.gradnorm({"a": PLAIN}, strength=-1)


def test_every_paradigm_with_a_weight_is_here():
    found = {
        name
        for shelf in (paradigms, rules)
        for name in shelf.__all__
        if inspect.isfunction(getattr(shelf, name))
        and "weight" in inspect.signature(getattr(shelf, name)).parameters
    }
    assert found == set(MAKERS)
