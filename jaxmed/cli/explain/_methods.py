"""The methods by the names that the command line has for them, and what their maps are not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxmed import explain as ex


class Method(NamedTuple):
    """A method.

    Attributes:
        of: makes it for images of a spatial shape.
        meaning: what its map is, and what it is not.
        by_channel: whether it tells the channels of the input apart, and not only places.
    """

    of: Callable[[tuple[int, ...]], Callable[..., Any]]
    meaning: str
    by_channel: bool = False


def _of_windows(shape: tuple[int, ...]) -> Callable[..., Any]:
    return partial(ex.occlusion, window=tuple(max(1, n // 8) for n in shape))


def _of_blocks(shape: tuple[int, ...]) -> Callable[..., Any]:
    blocks = tuple(min(n, 6 if len(shape) < 3 else 4) for n in shape)
    regions = ex.grid_regions(shape, blocks)
    return partial(ex.kernel_shap, regions=regions, samples=4 * (int(regions.max()) + 1))


METHODS = {
    "gradient": Method(
        lambda shape: ex.gradient,
        "How the score would change by a small change of a voxel. It is not what the voxel "
        "contributes, and not where the disease is.",
        by_channel=True,
    ),
    "smooth-grad": Method(
        lambda shape: ex.smooth_grad,
        "The gradient, averaged over copies of the image with noise. It is not what a voxel "
        "contributes, and smoother is not truer.",
        by_channel=True,
    ),
    "integrated-gradients": Method(
        lambda shape: ex.integrated_gradients,
        "Shares of the difference between the score of this image and that of an image of its mean "
        "intensity, summed along the way. It is not what would happen if a voxel were healthy, and "
        "another image for absence gives another map.",
        by_channel=True,
    ),
    "lrp": Method(
        lambda shape: ex.lrp,
        "The score, handed back from layer to layer by what each voxel contributed. It is not a "
        "measurement of tissue: it is about this network, and a network that is wrong has maps as "
        "clear as one that is right.",
        by_channel=True,
    ),
    "guided-backprop": Method(
        lambda shape: ex.guided_backprop,
        "The gradient without what lowers the score on the way. It shows edges of the image "
        "whatever the network has learned: it is no evidence.",
        by_channel=True,
    ),
    "grad-cam": Method(
        lambda shape: ex.grad_cam,
        "Where the channels of the last layer lie that speak for the target, as coarse as that "
        "layer. It is not the outline of anything.",
    ),
    "occlusion": Method(
        _of_windows,
        "By how much the score falls where a window is covered. It is not what healthy tissue in "
        "its place would do: a covered image looks like nothing the network has seen.",
    ),
    "rise": Method(
        lambda shape: partial(ex.rise, samples=500),
        "How the score goes with whether a place is shown, over random masks. It is not exact: "
        "another seed gives a somewhat different map.",
    ),
    "shap": Method(
        _of_blocks,
        "What each block adds to the score, averaged over the orders in which blocks are "
        "uncovered. It is not a property of the patient: blocks and what covers them are ours.",
    ),
}


def over_members(method: Callable[..., Any], members: int) -> Callable[..., Any]:
    """The mean of the maps of several networks, whose parameters are stacked."""
    if members == 1:
        return method

    def mean(key, network, params, state, inputs, target):
        def of_one(variables):
            return method(key, network, *variables, inputs, target)

        return jax.lax.map(of_one, (params, state)).mean(0)

    return mean
