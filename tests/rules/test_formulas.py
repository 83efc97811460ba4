"""Premises about statements: enumeration, closed forms, equivalence, contradictions."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmed import rules
from jaxmed.rules import (
    at_least,
    at_most,
    atom,
    broken,
    deduce,
    exactly_one,
    implies,
    knowledge,
    order,
    parent,
    taxonomy,
)
from jaxmed.rules.formulas._formula import BOOLEAN, LUKASIEWICZ, PRODUCT

NAMES = ("a", "b", "c", "d")


def formulas():
    leaves = st.sampled_from(NAMES).map(atom)

    def larger(inner):
        pair = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda x: ~x),
            pair.map(lambda p: p[0] & p[1]),
            pair.map(lambda p: p[0] | p[1]),
            pair.map(lambda p: p[0] >> p[1]),
            st.lists(inner, min_size=1, max_size=3).map(lambda x: exactly_one(*x)),
            st.lists(inner, min_size=1, max_size=3).map(lambda x: at_most(1, *x)),
        )

    return st.recursive(leaves, larger, max_leaves=6)


def every_case(known):
    """All assignments that satisfy the premises, by looking at each."""
    cases = np.array(list(itertools.product((False, True), repeat=len(known.atoms))))
    return cases[known.holds(cases).all(1)]


def weights(z, cases):
    """The probability of each assignment of independent statements."""
    p = 1 / (1 + np.exp(-np.asarray(z, np.float64)))
    return np.where(cases, p, 1 - p).prod(1)


@settings(max_examples=40)  # each has shapes of its own, and so programs
@given(st.lists(formulas(), min_size=1, max_size=3), st.integers(0, 2**16))
def test_sums_over_assignments_are_those_of_looking_at_each(premises, seed):
    try:
        known = knowledge(NAMES, *premises)
    except ValueError as error:
        assert "contradict" in str(error)  # noqa: PT017
        return
    z = np.random.default_rng(seed).normal(size=(2, 4)).astype(np.float32) * 2
    cases = every_case(known)
    assert len(cases)
    found = np.asarray(rules.log_probability(known, z))
    inside = np.asarray(rules.marginals(known, z))
    best = np.asarray(rules.most_probable(known, z))
    for i in range(2):
        share = weights(z[i], cases)
        np.testing.assert_allclose(np.exp(found[i]), share.sum(), rtol=1e-4)
        np.testing.assert_allclose(inside[i], share @ cases / share.sum(), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(weights(z[i], best[i : i + 1])[0], share.max(), rtol=1e-4)
        assert known.holds(best[i]).all()


@given(formulas(), st.integers(0, 2**16))
def test_connectives_of_certain_statements_are_boolean(formula, seed):
    values = np.random.default_rng(seed).random(4) < 0.5
    truth = dict(zip(NAMES, values[:, None], strict=True))
    number = {name: jnp.asarray(v, jnp.float32) for name, v in truth.items()}
    known = formula.evaluate(truth, BOOLEAN)
    for algebra in (PRODUCT, LUKASIEWICZ):
        found = jnp.broadcast_to(jnp.asarray(formula.evaluate(number, algebra)), (1,))
        np.testing.assert_allclose(found, np.broadcast_to(known, (1,)), atol=1e-6)


def test_exactly_one_has_its_closed_form():
    p = np.array([0.2, 0.5, 0.7])
    z = np.log(p / (1 - p))
    known = knowledge("abc", exactly_one(*"abc"))
    one = sum(p[i] * np.prod(np.delete(1 - p, i)) for i in range(3))
    np.testing.assert_allclose(rules.log_probability(known, z), np.log(one), rtol=1e-5)
    truth = dict(zip("abc", p, strict=True))
    np.testing.assert_allclose(known.premises[0].evaluate(truth, PRODUCT), one)


def test_what_is_said_counts_and_not_how():
    z = jnp.asarray([0.3, -1.0, 0.8])
    first = knowledge("abc", implies("a", "b"), implies("b", "c"), implies("a", "c"))
    second = knowledge("abc", (~atom("a") | atom("b")) & (atom("b") >> atom("c")))
    third = knowledge("abc", order("c", "b", "a"))
    for other in (second, third):
        np.testing.assert_allclose(
            rules.log_probability(first, z), rules.log_probability(other, z), rtol=1e-6
        )


def test_a_certain_and_true_answer_costs_nothing_and_slopes_are_finite():
    known = knowledge("abc", exactly_one(*"abc"))
    sure = jnp.asarray([50.0, -50.0, -50.0])
    cost = lambda z: -rules.log_probability(known, z)  # noqa: E731
    np.testing.assert_allclose(cost(sure), 0, atol=1e-6)
    for z in (sure, -sure, jnp.full(3, jnp.inf), jnp.full(3, -1e9), jnp.zeros(3)):
        assert np.isfinite(jax.grad(cost)(z)).all()
        assert np.isfinite(cost(z))


def test_unconnected_statements_are_treated_apart():
    known = knowledge([f"s{i}" for i in range(40)],
                      *[exactly_one(f"s{2 * i}", f"s{2 * i + 1}") for i in range(19)])  # fmt: skip
    assert len(known.parts) == 19
    assert all(len(part.table) == 2 for part in known.parts)
    z = np.zeros(40, np.float32)
    np.testing.assert_allclose(rules.log_probability(known, z), 19 * np.log(0.5), rtol=1e-5)
    np.testing.assert_allclose(rules.marginals(known, z), 0.5)


def test_many_statements_with_few_assignments_are_listed():
    names = [f"class {i}" for i in range(40)]
    known = knowledge(names, exactly_one(*names))
    assert known.parts[0].table.shape == (40, 40)
    z = np.random.default_rng(0).normal(size=40).astype(np.float32)
    np.testing.assert_allclose(rules.marginals(known, z), np.exp(z) / np.exp(z).sum(), rtol=1e-4)


def test_deduction_is_exact_and_tells_what_it_changed():
    kinds = exactly_one("benign", "malignant")
    names = ("benign", "malignant", "melanoma")
    known = knowledge(names, kinds, implies("melanoma", "malignant"))
    z = np.random.default_rng(0).normal(size=(50, 3)) * 2
    found = deduce(known, z)
    assert found.exact
    assert known.holds(found.values).all()
    np.testing.assert_array_equal(found.changed, found.values != (z > 0))
    np.testing.assert_array_equal(found.broken, ~known.holds(z > 0))
    untouched = ~found.broken.any(1)
    assert not found.changed[untouched].any()
    assert "exactly 1 of benign, malignant: broken by" in repr(found)


@pytest.mark.slow
def test_where_assignments_are_too_many_a_search_satisfies_the_premises():
    names = [f"s{i}" for i in range(30)]
    known = knowledge(names, at_most(10, *names), implies("s0", "s1"), at_least(2, *names[:12]))
    assert not known.exact
    z = np.random.default_rng(0).normal(size=(5, 30)) + 1
    found = deduce(known, z)
    assert not found.exact
    assert known.holds(found.values).all()
    # At most ten: those of the largest logits, as far as the other premises leave them.
    kept = np.where(found.values, z, -np.inf).min(1, where=found.values, initial=np.inf)
    assert (kept > 0).mean() > 0.5
    with pytest.raises(ValueError, match="more than 65536 assignments of 30 statements"):
        rules.log_probability(known, z)


def test_labels_that_break_premises_are_found_by_case_and_patient():
    known = knowledge(("malignant", "melanoma"), implies("melanoma", "malignant"))
    labels = np.array([[1, 1], [0, 1], [1, 0], [0, np.nan], [0, 1]])
    (estimate,) = broken(known, labels).values()
    assert (estimate.value, estimate.n) == (0.5, 4)
    assert estimate.details["cases"] == [1, 4]
    (estimate,) = broken(known, labels, groups=[0, 0, 1, 1, 2]).values()
    assert estimate.unit == "patient"


def test_a_taxonomy_is_a_tree():
    tree = {"melanoma": "malignant", "carcinoma": "malignant", "naevus": "benign"}
    names = ("malignant", "benign", *tree)
    known = knowledge(names, *taxonomy(tree))
    cases = {tuple(n for n, v in zip(names, row, strict=True) if v) for row in every_case(known)}
    assert cases == {
        ("malignant", "melanoma"), ("malignant", "carcinoma"), ("benign", "naevus"),
    }  # fmt: skip
    loose = knowledge(names, *taxonomy(tree, exclusive=False))
    assert len(every_case(loose)) > 3


def test_the_fewest_premises_that_contradict_are_named():
    told = "^the premises contradict each other: exactly 1 of a, b; a; b$"
    with pytest.raises(ValueError, match=told):
        knowledge("abc", exactly_one("a", "b"), implies("c", "a"), atom("a"), atom("b"))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: knowledge("ab"), "a premise or more"),
        (lambda: knowledge("aa", atom("a")), "named twice"),
        (lambda: knowledge("ab", implies("a", "x")), "about 'x'"),
        (lambda: knowledge("ab", "a"), r"atom\('a'\)"),
        (lambda: at_most(3, "a", "b"), "0 to 3 of 2 statements is no premise"),
        (lambda: exactly_one(), "one statement or more"),
        (lambda: order("a"), "two statements"),
        (lambda: order("a", "b", "a"), "each statement once, and 'a' comes again"),
        (lambda: parent("a", "a"), "'a' is a kind of itself"),
        (lambda: atom(""), "has a name"),
        (lambda: taxonomy({"a": "b", "b": "a"}), "kind of itself"),
        (lambda: deduce(knowledge("ab", atom("a")), [[1.0]]), r"\(cases, 2\)"),
        (lambda: deduce(knowledge("ab", atom("a")), [[1.0, np.nan]]), "NaN in 1 of 1"),
        (lambda: broken(knowledge("ab", atom("a")), [[2, 0]]), "0, 1 or NaN"),
        (lambda: knowledge("ab", atom("a")).holds([True]), "2 statements"),
    ],
)
def test_mistakes_are_told(call, told):
    with pytest.raises(ValueError, match=told):
        call()


SIZES = st.sampled_from([-np.inf, -500.0, -200.0, -1.0, 0.5, 300.0, np.inf])


@given(st.lists(SIZES, min_size=4, max_size=4))
def test_large_and_infinite_logits_are_told_apart(logits):
    """First the fewest infinite ones are given up, then as little of the others as can be."""
    known = knowledge(tuple("abcd"), exactly_one("a", "b"), implies("c", "b"), at_most(1, "c", "d"))
    z = np.array(logits)

    def lost(option):
        gone = np.abs(z[np.array(option) != (z > 0)])
        return np.isinf(gone).sum(), gone[np.isfinite(gone)].sum()

    options = [o for o in itertools.product([False, True], repeat=4) if known.holds(o).all()]
    found = deduce(known, z[None]).values[0]
    assert known.holds(found).all()
    assert lost(found) == min(map(lost, options))


def test_the_search_takes_infinite_logits():
    names = [f"s{i}" for i in range(20)]
    many = [atom(names[i]) | atom(names[(i + 7) % 18]) for i in range(18)]
    known = knowledge(names, *many, exactly_one("s18", "s19"))
    known = dataclasses.replace(
        known, parts=tuple(p if len(p.places) == 2 else p._replace(table=None) for p in known.parts)
    )
    assert not known.exact
    z = np.full(20, -1.0)
    z[[0, 19]], z[18] = np.inf, -np.inf
    found = deduce(known, z[None]).values[0]
    assert known.holds(found).all()
    assert found[[0, 18, 19]].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: atom("a") and atom("b"), "joined by|join formulas by &"),
        (lambda: atom("a") & "b", "joined with a formula"),
        (lambda: at_most(1.5, "a", "b"), "is no premise"),
        (lambda: taxonomy({"a": ["b", "c"]}), "one parent by name"),  # pyright: ignore
    ],
)
def test_slips_in_writing_premises_are_told(make, told):
    with pytest.raises((TypeError, ValueError), match=told):
        make()
