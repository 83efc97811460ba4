"""Regression on tables: splits, scaling, scores, and going on where a run was cut."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jaxmed.cli.runs import _experiment


@pytest.fixture(scope="module")
def regression():
    return _experiment.load("table_regression").module


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = 100 + 10 * (x @ [1.0, -0.5]) + rng.normal(size=40)
    test = np.stack([np.arange(40) < 8, np.arange(40) >= 32])
    np.savez(tmp_path / "line.npz", x=x, y=y, test=np.packbits(test, axis=1))
    return tmp_path / "line.npz", x, y, test


def test_tables_and_their_splits(regression, table, tmp_path):
    path, x, y, test = table
    found = regression.read(regression.Config(data=path))
    np.testing.assert_array_equal(found.test, test)  # packed bits
    lines = ["a,split1,y,split2,b"]
    lines += [f"{p},{int(s)},{v},{int(t)},{q}" for (p, q), v, s, t in zip(x, y, *test)]
    (tmp_path / "line.csv").write_text("\n".join(lines))
    other = regression.read(regression.Config(data=tmp_path / "line.csv", target="y"))
    for one, two in zip(found, other):
        np.testing.assert_allclose(one, two)
    np.savez(tmp_path / "plain.npz", x=x, y=y)
    drawn = regression.read(regression.Config(data=tmp_path / "plain.npz", splits=3)).test
    assert drawn.sum(axis=1).tolist() == [4, 4, 4]
    assert len({tuple(row) for row in drawn}) == 3


def test_bad_tables_are_told(regression, table, tmp_path):
    _, x, y, _ = table
    with pytest.raises(ValueError, match="data must name a table"):
        regression.read(regression.Config())
    np.savez(tmp_path / "bad.npz", x=x, y=np.where(y > y.mean(), np.nan, y))
    with pytest.raises(ValueError, match="NaN or infinite"):
        regression.read(regression.Config(data=tmp_path / "bad.npz"))
    np.savez(tmp_path / "bad.npz", x=x, y=y, test=np.zeros((2, 40), bool))
    with pytest.raises(ValueError, match="rows to test"):
        regression.read(regression.Config(data=tmp_path / "bad.npz"))
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ValueError, match="no column 'c'"):
        regression.read(regression.Config(data=tmp_path / "bad.csv", target="c"))


def test_scores_are_of_the_mixture(regression):
    y, key = np.zeros(4), jax.random.key(0)
    found = regression.measure(y, np.zeros((5, 4)), np.ones((5, 4)), key)
    assert found["log_likelihood"] == pytest.approx(-0.9189, abs=1e-4)
    assert found["rmse"] == 0
    assert found["crps"] == pytest.approx(0.2337, abs=0.02)
    assert found["coverage"] == 1


def test_rounded_targets_are_scored_as_intervals(regression, table):
    y, key = np.array([3.0, 4.0, 5.0]), jax.random.key(0)
    found = regression.measure(y, np.full((2, 3), 4.0), np.full((2, 3), 1e-3), key, 1.0)
    assert found["coverage"] == pytest.approx(1 / 3)  # draws are rounded too
    exact = regression.measure(np.full(3, 4.0), np.full((2, 3), 4.0), np.full((2, 3), 1e-3), key, 1)
    assert exact["log_likelihood"] == pytest.approx(0, abs=1e-9)  # no more than probability 1
    with pytest.raises(ValueError, match="not a multiple of rounding=1"):
        regression.read(regression.Config(data=table[0], rounding=1.0))


def test_settings_are_chosen_without_the_test_rows(regression, table):
    _, x, y, test = table
    whole = regression.Table(x, y, test)
    inner, held = regression.without(whole, test[0], (0, 0))
    assert held.sum() == 3
    assert set(inner.y) == set(y[~test[0]])


@pytest.mark.slow
def test_a_cut_run_goes_on_and_the_line_is_found(regression, table, tmp_path):
    config = regression.Config(data=table[0], hidden=10, members=3, steps=600)
    first = regression.run(dataclasses.replace(config, splits=1), tmp_path / "run")
    assert first.metrics["log_likelihood"].n == 1
    path = tmp_path / "run" / "splits.jsonl"
    kept = path.read_text()
    path.write_text(kept + '{"split": 1, "ro')
    whole = regression.run(config, tmp_path / "run")
    assert path.read_text().startswith(kept)
    assert whole.metrics["rmse"].n == 2
    assert whole.metrics["rmse"].value < 3  # of a target that spreads over 11, with noise of 1
    assert whole.metrics["log_likelihood"].value > -2.5
