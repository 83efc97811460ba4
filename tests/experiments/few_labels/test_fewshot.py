"""Classes of an episode by features of all its images."""

from __future__ import annotations

import numpy as np
import pytest

from jaxmed.experiments.few_labels import fewshot


@pytest.mark.parametrize("method", ["probe", "propagation"])
def test_images_that_lie_apart_are_told_by_one_example_each(method):
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 8)
    order = rng.permutation(24)
    centres = 6 * np.eye(3, 5)
    features = np.concatenate([centres, centres[truth[order]] + rng.normal(0, 0.3, (24, 5))])
    config = fewshot.Config(method=method)
    found = fewshot.of_features(config, features, np.arange(3), 3)
    np.testing.assert_array_equal(found, truth[order])


def test_images_between_join_those_beyond_to_the_support():
    # A chain leads from each example to the far end of its class, which lies nearer to the other.
    angles = np.linspace(0, 0.45 * np.pi, 8)
    one = np.stack([np.cos(angles), np.sin(angles)], 1)
    features = np.concatenate([one[:1], [[0.3, 1.0]], one[1:], [[0.25, 1.0]] * 7])
    features = np.concatenate([features, np.r_[np.zeros(9), np.ones(7)][:, None] * 0.5], axis=1)
    features[1, 2] = 0.5
    config = fewshot.Config(method="propagation")
    found = fewshot.of_features(config, features, np.arange(2), 2)
    np.testing.assert_array_equal(found, np.repeat([0, 1], 7))
