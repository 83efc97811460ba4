"""`jaxmed power DESIGN`: the size or the power of a study, and a sentence for its protocol."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxmed.cli.power import _designs as designs
from jaxmed.cli.power import _precision as precision
from jaxmed.cli.power._designs import Common, Plan
from jaxmed.cli.power._simulated import Simulate
from jaxmed.cli.runs._settings import ask

DESIGNS: dict[str, type[Common]] = {
    "proportions": designs.Proportions,
    "paired-proportions": designs.PairedProportions,
    "means": designs.Means,
    "auc": designs.Auc,
    "two-aucs": designs.TwoAucs,
    "precision": precision.Precision,
    "kappa": precision.Kappa,
    "icc": precision.Icc,
    "agreement": precision.Agreement,
    "model": precision.Model,
    "readers": precision.Readers,
    "simulate": Simulate,
}


def run(arguments: Sequence[str]) -> int:
    """Plan a study, print the plan, draw its curve."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in DESIGNS:
        raise ValueError(f"there is no design {name!r}; there are {', '.join(DESIGNS)}")
    design = DESIGNS[name]
    options = ask(design, as_options(design, rest), prog=f"jaxmed power {name}")
    try:
        plan = options.plan()
    except ValueError as error:
        # The formulas call two proportions p1 and p2.
        named = {"p1": "--first", "p2": "--second"}
        said = [f"{p} is {n}" for p, n in named.items() if re.search(rf"\b{p}\b", str(error))]
        raise ValueError(f"{error}" + f" ({', '.join(said)})" * bool(said)) from None
    print(plan_text(plan))
    if options.json is not None:
        from jaxmed.report import to_json

        record = {
            "design": name,
            "answer": plan.lines,
            "assumptions": plan.assumptions,
            "sentence": plan.sentence,
            "size": plan.size,
            "options": {k: v for k, v in vars(options).items() if k not in ("plot", "json")},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(json.loads(to_json(record)), indent=2) + "\n")
        print(f"plan: {options.json}")
    if options.plot is not None:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        figure = draw(plan)
        figure.savefig(options.plot, dpi=160, bbox_inches="tight")
        print(f"curve: {options.plot}")
    return 0


def as_options(design: type[Common], words: Sequence[str]) -> list[str]:
    """The words of the command line with values that stand alone as options.

    `proportions 0.8 0.9` is `proportions --first 0.8 --second 0.9`, and `--design two-sample`,
    as it was called before, `--unpaired`.
    """
    flags = [f"--{field.name}" for field in dataclasses.fields(design) if field.default is False]
    names = [*design.leading]
    found: list[str] = []
    queue = [*words]
    while names and queue:
        word = queue.pop(0)
        if word.startswith("--") or word == "-h":
            found.append(word)
            alone = word.replace("--no-", "--") in (*flags, "--help", "-h") or "=" in word
            found += [] if alone or not queue else [queue.pop(0)]
        else:
            found += [f"--{names.pop(0).replace('_', '-')}", word]
    found += queue
    if "--unpaired" in flags and "--design" in found[:-1]:
        at = found.index("--design")
        found[at : at + 2] = {"paired": [], "two-sample": ["--unpaired"]}.get(
            found[at + 1], found[at : at + 2]
        )
    return found


def plan_text(plan: Plan) -> str:
    """The plan as text."""
    lines = [*plan.lines, "assumptions:", *(f"  - {text}" for text in plan.assumptions)]
    return "\n".join([*lines, "for the protocol:", f"  {plan.sentence}"])


def draw(plan: Plan) -> Any:
    """The curve of a plan around its size."""
    from jaxmed.report import power_figure

    simulated = hasattr(plan.at(plan.size), "lower")
    low, high = max(plan.size / 4, 4), 2.2 * plan.size
    sizes = np.unique(np.round(np.linspace(low, high, 9 if simulated else 60)))
    sizes = np.unique(np.append(sizes, math.ceil(plan.size)))
    found = [plan.at(float(n)) for n in sizes]
    limits = None
    if simulated:
        limits = [e.lower for e in found], [e.upper for e in found]
        found = [e.value for e in found]
    return power_figure(
        sizes, {plan.value: found}, label=plan.label, value=plan.value, target=plan.target,
        chosen=plan.size, limits=limits, title=f"{plan.value} by size",
    )  # fmt: skip


def _help() -> str:
    width = max(map(len, DESIGNS))
    lines = ["usage: jaxmed power DESIGN [options]", ""]
    lines += [
        f"  {name:<{width}}  {(design.__doc__ or '').splitlines()[0]}"
        for name, design in DESIGNS.items()
    ]
    lines += [
        "",
        "`jaxmed power DESIGN --help` tells a design's options, of which those without a default",
        "may stand first without their names; --plot FILE draws the curve.",
    ]
    return "\n".join(lines)
