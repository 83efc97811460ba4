"""Rounds whose labels cost something, parts of scans, persons as oracles, scores of one's own."""

from __future__ import annotations

import csv
import dataclasses
import threading
import time

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmed import protocols as pr
from jaxmed.bayes import decompose

KEY = jax.random.key(0)


def test_scores_are_asked_for_by_their_size_and_by_what_they_cost():
    pool = pr.pool_of(scores=[1.0, 4.0, 3.0], costs=[1.0, 8.0, 2.0])
    assert len(pool) == 3
    assert pr.ask_score(KEY, pool, 3).tolist() == [1, 2, 0]
    assert pr.ask_score_per_cost(KEY, pool, 3).tolist() == [2, 0, 1]
    assert pr.ask_score_per_cost(KEY, dataclasses.replace(pool, costs=None), 2).tolist() == [1, 2]
    for call, told in (
        (lambda: pr.ask_score(KEY, pr.pool_of([[0.5, 0.5]]), 1), "needs scores"),
        (lambda: pr.pool_of(scores=[1.0], costs=[0.0]), "costs are above 0"),
        (lambda: pr.pool_of(scores=[1.0], costs=[1.0, 2.0]), "scores are of 1 cases, costs are"),
        (lambda: pr.pool_of(scores=[np.nan]), "NaN"),
    ):
        with pytest.raises(ValueError, match=told):
            call()


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)), min_size=1,
             max_size=3),
    st.sampled_from(["scan", "slice", "region"]), st.integers(-3, 2), st.integers(1, 3),
    st.sampled_from(["voxels", "slices"]), st.randoms(use_true_random=False),
)  # fmt: skip
def test_parts_cover_every_voxel_once_and_their_scores_are_those_of_their_voxels(
    shapes, by, axis, size, cost, random
):
    parts = pr.regions(
        shapes, by=by, axis=axis, size=size if by == "region" else None, cost=cost
    )  # fmt: skip
    rng = np.random.default_rng(random.randrange(1000))
    maps = [rng.random(shape) for shape in shapes]
    assert len(set(parts.names)) == len(parts)
    total = 0.0
    for scan, shape in enumerate(shapes):
        count = np.zeros(shape, int)
        mine = np.flatnonzero(parts.scan == scan)
        for part in mine:
            count[parts.box(part)] += 1
        assert (count == 1).all()
        assert parts.known(mine, scan).all()
        some = mine[: len(mine) // 2]
        inside = parts.known(some, scan)
        scores = pr.region_scores(maps, parts, some, reduce="sum")
        assert scores.sum() == pytest.approx(maps[scan][inside].sum())
        total += np.prod(shape) if cost == "voxels" else shape[axis]
    assert parts.costs.sum() == pytest.approx(total)
    means = pr.region_scores(lambda scan: maps[scan], parts)
    for part in range(len(parts)):
        voxels = maps[parts.scan[part]][parts.box(part)]
        assert means[part] == pytest.approx(voxels.mean())
    top = pr.region_scores(maps, parts, reduce="top", share=1.0)
    np.testing.assert_allclose(top, means)
    assert (pr.region_scores(maps, parts, reduce="top", share=0.01) >= means - 1e-12).all()


def test_doubt_of_voxels_is_its_formula():
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 2, 5))
    mean, order = p.mean(0), np.sort(p.mean(0), axis=-1)
    np.testing.assert_allclose(pr.voxel_scores(p), -(mean * np.log(mean)).sum(-1))
    np.testing.assert_allclose(pr.voxel_scores(p, "margin"), order[..., -2] - order[..., -1])
    np.testing.assert_allclose(pr.voxel_scores(p, "least_confident"), 1 - order[..., -1])
    flat = p.reshape(4, 10, 3)
    np.testing.assert_allclose(
        pr.voxel_scores(p, "bald").ravel(), decompose(flat).epistemic, atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: pr.regions([]), "of one rank"),
        (lambda: pr.regions([(2, 2), (2, 2, 2)]), "of one rank"),
        (lambda: pr.regions([(2, 0)]), "empty axis"),
        (lambda: pr.regions([(2, 2)], axis=2), "axis 2 is none of 2"),
        (lambda: pr.regions([(2, 2)], by="region"), "which needs one"),
        (lambda: pr.regions([(2, 2)], by="scan", size=2), "which needs one"),
        (lambda: pr.regions([(2, 2)], by="region", size=(2, 2, 2)), "size is one number"),
        (lambda: pr.regions([(2, 2)], names=["a", "b"]), "one for each of 1"),
        (lambda: pr.regions([(2, 2)], by="patch"), "by is scan"),
        (lambda: pr.voxel_scores([[[0.5, 0.9]]]), "add up to 1"),
        (lambda: pr.voxel_scores([[[0.5, 0.5]]], "bald"), "several samples"),
        (lambda: pr.voxel_scores([[[0.5, 0.5]]], "doubt"), "kind is"),
        (lambda: pr.region_scores([np.ones((3, 2))], pr.regions([(2, 3)])), r"\(2, 3\), and"),
        (lambda: pr.region_scores([np.ones((2, 3))], pr.regions([(2, 3)]), share=0), "share in"),
    ],
)
def test_parts_that_make_no_sense_are_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()


SHAPES = [(4, 4, 3), (4, 4, 5), (2, 2, 6)]
RNG = np.random.default_rng(1)
MASKS = [RNG.random(shape) < 0.3 for shape in SHAPES]


def of_parts(parts, drawn):
    """A training on parts of masks: the share of what is drawn is all that it learns."""

    def train(rows, labels, number):
        assert (labels == 0).all()
        known = [parts.known(rows, scan) for scan in range(len(SHAPES))]
        assert all((drawn[scan] >= 0)[known[scan]].all() for scan in range(len(SHAPES)))
        inside = np.concatenate([MASKS[scan][known[scan]] for scan in range(len(SHAPES))])
        share = inside.mean()

        def voxels(scan):
            rng = np.random.default_rng([scan, number, round(1000 * share)])
            return rng.random(SHAPES[scan])

        return lambda at: {"scores": pr.region_scores(voxels, parts, at, reduce="sum")}

    return train


@pytest.mark.parametrize("by", ["scan", "slice", "region"])
@pytest.mark.parametrize("cost", ["voxels", "slices"])
def test_parts_are_asked_for_within_a_budget(tmp_path, by, cost):
    parts = pr.regions(SHAPES, by=by, size=2 if by == "region" else None, cost=cost)
    budget = {"voxels": 48.0, "slices": 6.0}[cost]
    drawn = [np.full(shape, -1) for shape in SHAPES]

    def draw(rows):
        for row in rows:
            scan, box = parts.scan[row], parts.box(row)
            assert (drawn[scan][box] < 0).all(), "drawn twice"
            drawn[scan][box] = MASKS[scan][box]

    options = {"acquire": pr.ask_score_per_cost, "classes": None, "rounds": 1, "per_round": budget,
               "start": budget, "costs": parts.costs}  # fmt: skip
    cut = [True]

    def person(rows):
        if cut.pop() if cut else False:
            raise KeyboardInterrupt
        draw(rows)

    run_of = lambda out, oracle: pr.active_rounds(  # noqa: E731
        of_parts(parts, drawn), parts.names, oracle=oracle, out=out, **options
    )
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path, person)
    run = run_of(tmp_path, person)
    for number, one in enumerate(run.rounds, start=1):
        assert one.spent <= number * budget + 1e-9
        # What is left could not have paid for anything.
        left = np.setdiff1d(np.arange(len(parts)), run.rows[: one.labelled])
        assert number * budget - one.spent < parts.costs[left].min() + 1e-9
    assert run.rounds[-1].spent == pytest.approx(parts.costs[run.rows].sum())
    for array in drawn:
        array[:] = -1
    again = run_of(None, draw)
    np.testing.assert_array_equal(again.rows, run.rows)


def test_a_budget_that_pays_for_nothing_is_told():
    parts = pr.regions(SHAPES, by="scan")
    options = {"acquire": pr.ask_random, "oracle": lambda rows: None, "classes": None, "rounds": 1,
               "costs": parts.costs}  # fmt: skip
    train = lambda rows, labels, number: lambda at: {}  # noqa: E731
    for change, told in (
        ({"start": 5.0, "per_round": 5.0}, "the cheapest of the cases left costs 24"),
        ({"start": 99.0, "per_round": 99.0}, "more than the 152 that all 3 cases cost"),
        ({"start": 0.0, "per_round": 1.0}, "start is what the labels of a round may cost"),
        ({"start": 24.0, "per_round": -1.0}, "per_round is what"),
        ({"start": 24.0, "per_round": 1.0, "costs": [1.0, 2.0]}, "above 0 for each of 3"),
        ({"start": 24.0, "per_round": 1.0, "costs": [1.0, 2.0, 0.0]}, "above 0 for each of 3"),
    ):
        with pytest.raises(ValueError, match=told):
            pr.active_rounds(train, parts.names, **{**options, **change})


CASES = [f"case {i}" for i in range(12)]
TRUTH = np.arange(12) % 2
CLASSES = ("benign", "malignant")
X = np.random.default_rng(0).normal(size=(12, 2)) + TRUTH[:, None]


class Person:
    """Who answers what the table asks for, as the page of `jaxmed label` does."""

    def __init__(self, folder):
        self.ask, self.labels = folder / "ask.csv", folder / "labels.csv"
        self.asked = []

    def answer(self, most=99):
        with self.ask.open(newline="") as file:
            names = [row["case"] for row in csv.DictReader(file)][:most]
        self.asked += names
        new = not self.labels.exists()
        with self.labels.open("a") as file:
            file.write("case,image,label\n" if new else "")
            for name in names:
                file.write(f"{name},{name}.png,{CLASSES[TRUTH[CASES.index(name)]]}\n")

    def rounds(self, folder, **options):
        trained = []

        def train(rows, labels, number):
            trained.append(number)
            probe = pr.linear_probe(X[rows], labels, classes=2, l2=0.1)
            return lambda at: {"samples": probe.predict(X[at])}

        oracle = pr.person_oracle(
            self.labels, CASES, CLASSES, ask=self.ask, data="images", **options
        )
        run = pr.active_rounds(
            train, CASES, acquire=pr.ask_margin, oracle=oracle, classes=2, rounds=2, per_round=3,
            start=[0, 1], out=folder / "run",
        )  # fmt: skip
        return run, trained


def test_a_person_answers_round_by_round(tmp_path):
    person = Person(tmp_path)
    for most in (99, 2, 99, 99):  # the second time she leaves in the middle
        with pytest.raises(pr.LabelsAwaited, match="jaxmed label images --ask") as told:
            person.rounds(tmp_path)
        assert f"--out {person.labels} --classes benign malignant" in str(told.value)
        person.answer(most)
    run, trained = person.rounds(tmp_path)
    assert [one.labelled for one in run.rounds] == [2, 5, 8]
    np.testing.assert_array_equal(run.labels, TRUTH[run.rows])
    assert person.asked == [CASES[i] for i in run.rows], "each once, in the order asked for"
    assert trained == [2], "what was asked for was on disk: no model is trained again for it"
    whole = Person(tmp_path / "other")
    whole.labels.parent.mkdir()
    whole.labels.write_text(person.labels.read_text())
    np.testing.assert_array_equal(whole.rounds(tmp_path / "other")[0].rows, run.rows)


def test_an_oracle_that_waits_goes_on_by_itself(tmp_path, capsys):
    person = Person(tmp_path)

    def answers():
        for _ in range(3):
            while not person.ask.exists():
                time.sleep(0.005)
            time.sleep(0.02)
            person.answer()
            person.ask.unlink()

    thread = threading.Thread(target=answers)
    thread.start()
    run, trained = person.rounds(tmp_path, wait=0.005)
    thread.join()
    assert len(run.rows) == 8
    assert trained == [0, 1, 2]
    assert "3 of 3 cases that are asked for have no label yet" in capsys.readouterr().out


def test_tables_of_a_person_that_make_no_sense_are_told(tmp_path):
    labels = tmp_path / "labels.csv"
    oracle = pr.person_oracle(labels, CASES, CLASSES, ask=tmp_path / "ask.csv")
    labels.write_text("case,label\ncase 1,bening\n")
    with pytest.raises(ValueError, match="'bening' of 'case 1' is none of the classes"):
        oracle(np.array([1]))
    labels.write_text("name,label\ncase 1,benign\n")
    with pytest.raises(ValueError, match="no column 'case'"):
        oracle(np.array([1]))
    labels.write_text("case,label\n")
    with pytest.raises(pr.LabelsAwaited) as told:
        oracle(np.array([3, 1]))
    assert told.value.cases == ("case 3", "case 1")
    for change in ({"classes": ["a"]}, {"classes": ["a", "a"]}, {"wait": 0}):
        with pytest.raises(ValueError, match=r"two different names|wait is a time"):
            pr.person_oracle(labels, CASES, change.pop("classes", CLASSES), ask="a.csv", **change)
