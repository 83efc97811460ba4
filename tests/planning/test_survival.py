"""The plan of a network of times: intervals, shapes, reasons, the file that people edit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxmed.planning import SurvivalPlan, event_times, plan_survival, read_plan, write_plan

TIME, EVENT = np.arange(1.0, 13), np.tile([1, 1, 0], 4)
RECORDS = {"records": ("age", "stage"), "categories": ((), ("a", "b")),
           "scales": ((60.0, 9.0), (0.0, 1.0))}  # fmt: skip


def test_each_choice_has_its_reason_and_the_file_comes_back(tmp_path):
    plan = plan_survival(
        TIME, EVENT, channels=("grey",), spatial=(40, 80), size=32, intervals=4, epochs=3, **RECORDS
    )
    assert plan.shape == (16, 32)
    assert plan.why["shape"] == "of the longer side 32 is given; the first image has 80"
    assert plan.why["times"] == "4 intervals with about 2 of the 8 events each"
    assert plan.why["epochs"] == "given"
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json", SurvivalPlan) == plan
    alone = plan_survival(TIME, EVENT, **RECORDS)
    assert (alone.channels, alone.shape) == ((), ())


def test_intervals_hold_alike_many_events_and_end_with_the_last():
    for count in (1, 2, 4):
        ends = np.array(event_times(TIME, EVENT, count))
        held = np.searchsorted(ends, TIME[EVENT > 0])
        assert np.bincount(held).tolist() == [8 // count] * count
        assert ends[-1] == 11
    assert event_times([2, 2, 2, 5], [1, 1, 1, 0], 4) == (2.0,)
    with pytest.raises(ValueError, match="no case of the training part has the event"):
        event_times([0, 3], [1, 0], 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (16, 16)}, "channels and shape are of images: give both or none"),
        ({"records": (), "categories": (), "scales": ()}, "there is nothing else"),
        ({"categories": ((),)}, "categories has 1 entries, but there are 2 records"),
        ({"scales": ((0.0, 0.0), (0.0, 1.0))}, "a deviation of scales"),
        ({"times": (3.0, 2.0)}, "times rises from above 0 on"),
        ({"hidden": ()}, "hidden is a width or more"),
        ({"drop": 1.0}, "drop is from 0 to below 1"),
        ({"ended": (40,)}, "ended rises from above 0 to below 40"),
    ],
)
def test_what_no_training_can_follow_is_refused_by_its_field(change, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(plan_survival(TIME, EVENT, **RECORDS), **change)
