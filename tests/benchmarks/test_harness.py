"""The harness: what it measures with, what it refuses, and tables that follow the records."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import _tables
from benchmarks._case import Case, Run, UnavailableError, difference
from benchmarks._measure import geometric_means, measure, summary
from benchmarks._runs import gather


def test_tables_in_readme_and_docs_follow_the_committed_records():
    pages = [str(p.relative_to(_tables.ROOT)) for p in _tables.stale()]
    assert not pages, "stale; run python -m benchmarks tables --write"


def _record():
    def side(seconds):
        return summary([seconds] * 3)

    return {
        "suite": "demo",
        "created": "2026-01-01 00:00 UTC",
        "environment": {
            "device": "a processor", "cores": 2, "threads": 2, "python": "3.11.0",
            "packages": {"jax": "1", "torch": "2"}, "revision": "abc",
        },
        "settings": {"repeats": 3},
        "cases": [
            {
                "name": "first", "ours": "jaxmed", "group": "2D",
                "sides": {"jaxmed": side(0.002), "torch": side(0.005)},
                "ratios": {"torch": summary([2.0, 2.5, 3.0])},
                "memory": {"jaxmed": 300, "torch": 200},
            },
            {
                "name": "second", "ours": "jaxmed", "group": "2D",
                "sides": {"jaxmed": side(2.0), "xla": side(1.0)},
                "ratios": {"xla": summary([0.5])},
            },
        ],
        "geometric_means": {"2D": {"torch": 2.5, "xla": 0.5}},
    }  # fmt: skip


def test_a_page_is_rendered_between_markers_and_rendering_is_stable():
    text = (
        "Before\n<!-- benchmarks: demo -->\nold\n<!-- /benchmarks -->\nbetween\n"
        "<!-- benchmarks: demo summary -->\n<!-- /benchmarks -->\nafter\n"
    )
    page = _tables.render_page(text, lambda name: _record())
    assert "old" not in page
    assert page.startswith("Before\n")
    assert page.endswith("after\n")
    assert "| first | **2.50x** (2.25 to 2.75) |  | 2 ms | 5 ms |  | 1.50 |" in page
    assert "| second |  | **0.50x** (0.50 to 0.50) | 2 s |  | 1 s |" in page
    assert "| 2D | 2.50x | 0.50x |" in page
    assert _tables.render_page(page, lambda name: _record()) == page
    with pytest.raises(ValueError, match="unknown table 'pie': cases, summary, machine"):
        _tables.render_page(text.replace("summary", "pie"), lambda name: _record())
    record = _record()
    record["environment"]["peak_flops"] = {"float32": 2e9}
    record["cases"][0] |= {"flops": 1e6, "precision": "float32"}
    page = _tables.render_page(text, lambda name: record)
    assert "| share of peak |" in page
    assert "| 5 ms |  | 25% | 1.50 |" in page
    machine = "<!-- benchmarks: demo machine -->\n<!-- /benchmarks -->"
    assert "a processor, 2 cores" in _tables.render_page(machine, lambda name: _record())


def test_a_record_may_hold_tables_of_its_own():
    record = {"tables": {"folds": {"head": ["fold", "Dice"], "rows": [[1, 0.89]]}}}
    page = _tables.render_page(
        "<!-- benchmarks: study folds -->\n<!-- /benchmarks -->", lambda name: record
    )
    assert "| fold | Dice |\n| --- | ---: |\n| 1 | 0.89 |" in page
    with pytest.raises(ValueError, match="unknown table 'cases': folds"):
        _tables.render_page("<!-- benchmarks: x -->\n<!-- /benchmarks -->", lambda name: record)


def test_a_changed_record_makes_its_page_stale_and_writing_mends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_tables.render_page, "__defaults__", (lambda name: _record(),))
    page = tmp_path / "README.md"
    page.write_text("<!-- benchmarks: demo -->\n<!-- /benchmarks -->\n")
    assert _tables.stale(tmp_path) == [page]
    assert _tables.write(tmp_path) == [page]
    assert _tables.stale(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("<!-- benchmarks: demo -->\n", ValueError, "has no <!-- /benchmarks -->"),
        ("<!-- benchmarks: none -->\n<!-- /benchmarks -->", FileNotFoundError, "no record 'none'"),
    ],
)
def test_bad_markers_are_named(text, error, message):
    with pytest.raises(error, match=message):
        _tables.render_page(text)


def _case(ours, theirs, **options):
    return Case(
        "c", {"ours": lambda: ours, "peer": lambda: theirs, "other": lambda: ours}, **options
    )


def test_sides_take_turns_and_ratios_are_of_rounds(monkeypatch):
    turns = []
    clock = itertools.count(step=0.5)
    monkeypatch.setattr("benchmarks._measure.time.perf_counter", lambda: float(next(clock)))
    case = _case(Run(lambda: turns.append("o")), Run(lambda: turns.append("p")))
    entry = measure(case, ["peer"], repeats=3, least_seconds=0.0, say=lambda line: None)
    assert turns == ["o", "p", "o", "p", "o", "p", "p", "o", "o", "p"]
    assert entry["sides"]["ours"]["median"] == 0.5
    assert entry["ratios"]["peer"]["values"] == [1.0, 1.0, 1.0]
    assert "other" not in entry["sides"]
    assert geometric_means([entry]) == {"all": {"peer": 1.0}}


def test_what_computes_something_else_is_not_timed():
    one = Run(lambda: None, lambda: {"a": np.ones(3), "b": np.zeros(2)})
    other = Run(lambda: None, lambda: {"a": np.ones(3), "b": np.array([0.0, 0.1])})
    assert difference(one.result(), one.result()) == 0
    with pytest.raises(ValueError, match="ours and peer differ by"):
        measure(_case(one, other), ["peer"], repeats=1, say=lambda line: None)
    shape = Run(lambda: None, lambda: {"a": np.ones(4), "b": np.zeros(2)})
    with pytest.raises(ValueError, match="disagree on the shape"):
        measure(_case(one, shape), ["peer"], repeats=1, say=lambda line: None)


def test_a_peer_that_is_not_installed_is_noted():
    def missing():
        raise UnavailableError("pip install peer")

    case = Case("c", {"ours": lambda: Run(lambda: None), "peer": missing})
    entry = measure(case, ["peer"], repeats=1, least_seconds=0.0, say=lambda line: None)
    assert entry["missing"] == {"peer": "pip install peer"}
    assert entry["ratios"] == {}


def test_a_peer_that_fails_does_not_take_the_others_with_it():
    def broken():
        raise RuntimeError("no compiler")

    sides = {
        "ours": lambda: Run(lambda: None),
        "peer": broken,
        "third": lambda: Run(lambda: None),
    }
    case = Case("c", sides)
    entry = measure(case, ["peer", "third"], repeats=1, least_seconds=0.0, say=lambda line: None)
    assert entry["missing"] == {"peer": "RuntimeError: no compiler"}
    assert list(entry["ratios"]) == ["third"]
    with pytest.raises(RuntimeError, match="no compiler"):
        measure(Case("c", {"peer": broken}), [], repeats=1, say=lambda line: None)


def test_a_run_that_waits_is_waited_for_once_a_round():
    turns = []
    run = Run(lambda: turns.append("call"), wait=lambda: turns.append("wait"))
    measure(Case("c", {"ours": lambda: run}), [], repeats=2, least_seconds=0.0, say=lambda _: None)
    assert turns == ["call", "wait"] * 4


def test_work_is_counted_in_convolutions_products_and_loops():
    from benchmarks._jax import flops_of
    from jaxmed import ops

    x, k = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 5))
    one = 2 * 2 * 4 * 4 * 9 * 3 * 5

    def loss(k, x=x):
        return ops.conv(x, k, bias=jnp.ones(5)).sum()

    assert flops_of(loss, k) == one
    assert flops_of(jax.grad(lambda k: (ops.conv(x, k) ** 2).sum()), k) == 2 * one
    loop = lambda k: jax.lax.scan(lambda c, _: (c, loss(k)), 0.0, length=7)  # noqa: E731
    assert flops_of(jax.jit(loop), k) == 7 * one
    assert flops_of(lambda a: a @ a, jnp.ones((8, 8))) == 2 * 8**3
    stacked = jax.vmap(lambda k: ops.conv(x, k))
    assert flops_of(stacked, jnp.stack([k, k, k])) == 3 * one


def test_the_command_writes_a_record_and_refuses_unknown_peers(tmp_path, capsys):
    out = tmp_path / "record.json"
    arguments = ["metrics", "--quick", "--repeats", "1", "--only", "erosion"]
    assert command.main([*arguments, "--against", "scipy", "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert [c["name"] for c in record["cases"]] == ["erosion and dilation"]
    assert record["cases"][0]["differences"] == {"scipy": 0.0}
    assert record["environment"]["packages"]["jax"]
    assert "x (" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="has no side matlab"):
        command.main([*arguments, "--against", "matlab"])
    with pytest.raises(SystemExit, match="no case of metrics"):
        command.main(["metrics", "--quick", "--only", "nothing like this"])


def test_runs_of_an_experiment_become_one_record(tmp_path):
    folders = []
    for seed, value in enumerate([0.8, 0.9]):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        estimate = {"value": value, "lower": value - 0.1, "upper": value + 0.1}
        run = {
            "title": "a study",
            "command": f"jaxmed train study --data {tmp_path}/set --seed {seed} --out {folder}",
            "seconds": 120.0,
            "environment": {"cores": 2, "packages": {"jax": "0.10.2"}},
            "config": {"seed": seed, "data": str(tmp_path)},
            "metrics": {"auc": estimate},
            "notes": [],
        }
        (folder / "metrics.json").write_text(json.dumps(run))
        folders.append(folder)
    record = gather(folders, ["auc"], published={"auc": 0.86}, source="a paper")
    assert str(tmp_path) not in json.dumps(record)
    assert record["tables"]["runs"]["rows"] == [
        [
            "`jaxmed train study --data set --seed 0 --out runs/seed-0`",
            "0.800 (0.700 to 0.900)",
            "2",
        ],
        [
            "`jaxmed train study --data set --seed 1 --out runs/seed-1`",
            "0.900 (0.800 to 1.000)",
            "2",
        ],
        ["mean ± standard deviation of 2 runs", "**0.850** ± 0.071", ""],
        ["published (a paper)", "0.860", ""],
    ]
    assert record["tables"]["summary"]["rows"] == record["tables"]["runs"]["rows"][2:]
    assert ["cores", 2] in record["tables"]["machine"]["rows"]
    with pytest.raises(ValueError, match="no \\['dice'\\]"):
        gather(folders, ["dice"])
    apart = gather(folders, ["auc"], separate=True)["tables"]
    assert apart["runs"]["rows"] == record["tables"]["runs"]["rows"][:2]
    assert "summary" not in apart


RECORDS = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_no_folder_of_a_machine(path):
    folders = r"(?<![\w./])(?:~|/(?:tmp|home|root|work|mnt|data|Users|scratch))/"
    assert not re.search(folders, path.read_text())
