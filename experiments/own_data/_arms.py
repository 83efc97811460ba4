"""Arms of a study of one's own images: plans, given as files or as values of their fields."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jaxmed as jm
from jaxmed.planning import ImagePlan, SegmentationPlan

Plan = TypeVar("Plan", ImagePlan, SegmentationPlan)


def planned(
    given: Sequence[str],
    kind: type[Plan],
    make: Callable[[Mapping[str, Any]], Plan],
    *,
    asked: Sequence[str],
    free: Sequence[str],
    shared: Sequence[str],
    names: Mapping[str, str] | None = None,
) -> dict[str, Plan]:
    """The plan of each arm by its name.

    Args:
        given: `FIELD=VALUE,VALUE` of the plan, or `plan=FILE,FILE`.
        kind: the plan's type.
        make: a plan by values of `asked`.
        asked: what the planner is asked for, by name.
        free: fields of the plan in which arms may differ.
        shared: fields in which given plans must agree.
        names: further names of these.

    Raises:
        ValueError: fewer than two arms, a field that may not differ, or a value of another type.
    """
    fields = _fields(given, names or {})
    plans: dict[str, Plan] = {}
    if "plan" in fields:
        if len(fields) > 1:
            raise ValueError("--arms is either of plans or of fields")
        for path in map(_file, fields["plan"]):
            _add(plans, path.stem, jm.planning.read_plan(path, kind))
        _check_alike(plans, shared)
    else:
        if unknown := [field for field in fields if field not in (*asked, *free)]:
            raise ValueError(
                f"--arms may differ in {', '.join((*asked, *free))}, not in {unknown[0]!r}"
            )
        for values in itertools.product(*fields.values()):
            changed = dict(zip(fields, map(_value, values), strict=True))
            base = make({name: value for name, value in changed.items() if name in asked})
            rest = {name: value for name, value in changed.items() if name not in asked}
            _add(plans, "_".join(values), _changed(base, rest))
    if len(plans) < 2:
        raise ValueError(f"a study compares at least two arms, got {len(plans)}: --arms")
    return plans


def _fields(given: Sequence[str], names: Mapping[str, str]) -> dict[str, list[str]]:
    split = [text.partition("=") for text in given]
    if wrong := [field for field, sign, values in split if not sign or not values]:
        raise ValueError(
            f"--arms is FIELD=VALUE,VALUE, such as learning_rate=0.01,0.001, got {wrong[0]!r}"
        )
    fields = {
        names.get(field, field): re.findall(r"\[.*?\](?=,|$)|[^,]+", values)
        for field, _, values in split
    }
    if len(fields) < len(split):
        raise ValueError(f"--arms names a field twice: {' '.join(given)}")
    return fields


def _file(name: str) -> Path:
    """A plan's file, whose ending may be left out."""
    for path in (Path(name), Path(f"{name}.json")):
        if path.is_file():
            return path
    raise ValueError(f"--arms: there is no plan {name!r}: jaxmed plan TASK --out FILE writes one")


def _value(text: str) -> Any:
    """A value as JSON has it; else the word itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _add(plans: dict[str, Plan], name: str, plan: Plan) -> None:
    if name in plans:
        raise ValueError(f"--arms: two arms are called {name!r}: give each value once, and files "
                         "of plans different names")  # fmt: skip
    plans[name] = plan


def _changed(base: Plan, changed: Mapping[str, Any]) -> Plan:
    """The plan with other values, read as a plan's file is."""
    table = json.loads(json.dumps(dataclasses.asdict(base)))
    return jm.planning.plan_of(type(base), {**table, **changed})


def _check_alike(plans: Mapping[str, Any], shared: Sequence[str]) -> None:
    first, *others = plans.items()
    for name, plan in others:
        for field in shared:
            here, there = getattr(plan, field), getattr(first[1], field)
            if here != there:
                raise ValueError(
                    f"the plans of a study have one {field}; that of {name} is {here}, that of "
                    f"{first[0]} {there}"
                )
