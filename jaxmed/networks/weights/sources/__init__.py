"""The name maps of published architectures, a library or a kind of network a file."""

from jaxmed.networks.weights.sources._classifiers import CLASSIFIERS
from jaxmed.networks.weights.sources._monai import MONAI
from jaxmed.networks.weights.sources._monai_transformers import MONAI_TRANSFORMERS

SOURCES = {**MONAI, **MONAI_TRANSFORMERS, **CLASSIFIERS}
