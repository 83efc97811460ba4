"""Deductive learning: what is known of a case beforehand, as premises that predictions satisfy.

Premises are written as Python values (`exactly_one`, `implies`, `order`, `taxonomy`, or formulas of
`atom`s by `&`, `|`, `~`, `>>`), and compiled once by `knowledge`. `broken` tells how often labels
break them, `constrained` makes breaking them cost in training, and `deduce` gives the most probable
predictions that satisfy all, with what each premise changed.

Of structures in images (`encloses`, `not_touching`, `one_component`, ...) the same is
`anatomy`, `broken_masks`, `constrained_maps` and `deduce_mask`.
"""

from jaxmed.rules._constrained import constrained
from jaxmed.rules._deduce import Deduced, broken, deduce
from jaxmed.rules.formulas._formula import Formula
from jaxmed.rules.formulas._knowledge import (
    Knowledge,
    knowledge,
    log_probability,
    marginals,
    most_probable,
)
from jaxmed.rules.formulas._premises import (
    at_least,
    at_most,
    atom,
    exactly_one,
    implies,
    order,
    parent,
    taxonomy,
)
from jaxmed.rules.maps._anatomy import (
    Anatomy,
    DeducedMask,
    anatomy,
    broken_masks,
    constrained_maps,
    deduce_mask,
    encloses,
    inside,
    left_of,
    not_touching,
    one_component,
    volume_between,
)
from jaxmed.rules.maps._premises import MapPremise

__all__ = [
    "Anatomy",
    "Deduced",
    "DeducedMask",
    "Formula",
    "Knowledge",
    "MapPremise",
    "anatomy",
    "at_least",
    "at_most",
    "atom",
    "broken",
    "broken_masks",
    "constrained",
    "constrained_maps",
    "deduce",
    "deduce_mask",
    "encloses",
    "exactly_one",
    "implies",
    "inside",
    "knowledge",
    "left_of",
    "log_probability",
    "marginals",
    "most_probable",
    "not_touching",
    "one_component",
    "order",
    "parent",
    "taxonomy",
    "volume_between",
]
