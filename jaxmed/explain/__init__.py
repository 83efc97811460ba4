"""Why a network answers as it does, and tests of what is said about it.

A method is ``(key, network, params, state, inputs, target) -> map``: signed, in the inputs' shape,
of any network (Linen, NNX, plain functions), in any rank, for classes and structures. Options
follow by keyword. What cannot tell channels apart gives each an equal share, so that the sum over
channels is the map.
"""

from jaxmed.explain._compiled import compiled
from jaxmed.explain._target import Target, class_score, score, structure_score
from jaxmed.explain.checks._deletion import Curve, deletion, insertion
from jaxmed.explain.checks._infidelity import infidelity
from jaxmed.explain.checks._likeness import Agreement, agreement, rank_correlation
from jaxmed.explain.checks._masks import (
    mask_average_precision,
    mask_share,
    mass_in_mask,
    pointing_game,
)
from jaxmed.explain.checks._over_cases import over_cases
from jaxmed.explain.checks._randomisation import (
    Randomised,
    label_randomisation,
    parameter_randomisation,
)
from jaxmed.explain.checks._repeatability import repeatability, shift_repeatability
from jaxmed.explain.checks._shortcut import Shortcut, shortcut
from jaxmed.explain.concepts._bags import bag_map
from jaxmed.explain.concepts._bottleneck import concept_bottleneck, interventions
from jaxmed.explain.concepts._examples import Neighbours, nearest_examples
from jaxmed.explain.concepts._prototypes import (
    Projected,
    project_prototypes,
    prototype_cost,
    prototype_network,
)
from jaxmed.explain.concepts._tcav import Tcav, tcav
from jaxmed.explain.gradients._gradient import gradient, input_x_gradient
from jaxmed.explain.gradients._integrated import (
    completeness_gap,
    expected_gradients,
    integrated_gradients,
)
from jaxmed.explain.gradients._smooth_grad import smooth_grad
from jaxmed.explain.perturbation._counterfactual import Counterfactual, counterfactual
from jaxmed.explain.perturbation._occlusion import occlusion
from jaxmed.explain.perturbation._regions import grid_regions
from jaxmed.explain.perturbation._rise import rise
from jaxmed.explain.perturbation._shapley import exact_shapley, kernel_shap
from jaxmed.explain.relevance._endpoint import endpoint_gradient
from jaxmed.explain.relevance._grad_cam import grad_cam
from jaxmed.explain.relevance._guided import guided_backprop
from jaxmed.explain.relevance._lrp import lrp, lrp_biases
from jaxmed.explain.relevance._rollout import attention_rollout

__all__ = [
    "Agreement",
    "Counterfactual",
    "Curve",
    "Neighbours",
    "Projected",
    "Randomised",
    "Shortcut",
    "Target",
    "Tcav",
    "agreement",
    "attention_rollout",
    "bag_map",
    "class_score",
    "compiled",
    "completeness_gap",
    "concept_bottleneck",
    "counterfactual",
    "deletion",
    "endpoint_gradient",
    "exact_shapley",
    "expected_gradients",
    "grad_cam",
    "gradient",
    "grid_regions",
    "guided_backprop",
    "infidelity",
    "input_x_gradient",
    "insertion",
    "integrated_gradients",
    "interventions",
    "kernel_shap",
    "label_randomisation",
    "lrp",
    "lrp_biases",
    "mask_average_precision",
    "mask_share",
    "mass_in_mask",
    "nearest_examples",
    "occlusion",
    "over_cases",
    "parameter_randomisation",
    "pointing_game",
    "project_prototypes",
    "prototype_cost",
    "prototype_network",
    "rank_correlation",
    "repeatability",
    "rise",
    "score",
    "shift_repeatability",
    "shortcut",
    "smooth_grad",
    "structure_score",
    "tcav",
]
