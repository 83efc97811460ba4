"""`jaxmed plan TASK`: what training on one's own images would do, before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxmed.cli.runs._experiment import load, names
from jaxmed.cli.runs._train import parse
from jaxmed.planning import write_plan

_USAGE = """usage: jaxmed plan TASK --data PATH [--out plan.json]

TASK is segmentation, classification, regression, detection, instances or survival.

Look at the data as `jaxmed train` does, with the same options, and write the plan: every choice
with its reason. Edit it, and give it to `jaxmed train ... --plan plan.json`.

`jaxmed plan TASK --help` tells the options."""


def run(arguments: Sequence[str]) -> int:
    """Make the plan, write it, print its reasons."""
    if not arguments or arguments[0].startswith("-"):
        print(_USAGE)
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    name, *rest = arguments
    experiment = load(name)
    make = getattr(experiment.module, "make_plan", None)
    if make is None:
        able = [each for each in names() if hasattr(load(each).module, "make_plan")]
        raise ValueError(f"{name} makes no plan; {', '.join(able)} do")
    config, out, *_ = parse(experiment, rest, command="plan")
    if config.plan is not None:
        raise ValueError(f"--plan {config.plan} is a plan already: give it to jaxmed train")
    out = out or Path("plan.json")
    if out.is_dir():
        out = out / "plan.json"
    if out.exists():
        raise ValueError(f"{out} exists, perhaps with edits: name another by --out")
    plan = make(config)
    write_plan(out, plan)
    for choice, reason in plan.why.items():
        print(f"{choice}: {reason}")
    print(out)
    return 0
