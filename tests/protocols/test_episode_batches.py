"""Batches of episodes: whose examples they hold, and that they are functions of the step."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.protocols import episode_batches

LABELS = np.arange(30) % 5
IMAGES = np.arange(30.0)[:, None, None, None] * np.ones((1, 4, 4, 1))


def make(**options):
    data = {"image": IMAGES, "label": LABELS, "mask": IMAGES[..., 0].astype(int)}
    return episode_batches(data, 3, **{"ways": 4, "shots": 2, "queries": 3, **options})


def test_an_episode_holds_examples_of_its_own_classes_none_twice():
    batches = make(seed=1)
    for step in (0, 7):
        batch = batches[step]
        for e in range(3):
            support, query = (
                batch[part][e, :, 0, 0, 0].astype(int) for part in ("support", "query")
            )
            assert len({*support, *query}) == 4 * 5
            classes = LABELS[support[::2]]
            assert len(set(classes)) == 4
            np.testing.assert_array_equal(LABELS[support], classes[batch["support_label"][e]])
            np.testing.assert_array_equal(LABELS[query], classes[batch["query_label"][e]])
            np.testing.assert_array_equal(batch["query_mask"][e, :, 0, 0], query)


def test_a_batch_is_a_function_of_its_step():
    batches = make(steps=4)
    assert len(batches) == 4
    read = list(batches.iterate(2, 5))
    for step, batch in zip((2, 3, 4), read, strict=True):
        for name, value in batches[step].items():
            np.testing.assert_array_equal(batch[name], value)
    assert not np.array_equal(batches[0]["support"], batches[1]["support"])
    assert not np.array_equal(batches[0]["support"], make(seed=5)[0]["support"])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"4 classes with 2 \+ 9 examples"):
        make(queries=9)
    with pytest.raises(ValueError, match="size and steps"):
        make(steps=0)
