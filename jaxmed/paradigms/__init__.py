"""Learning paradigms, each a transform on a Network, an Objective or a Learner.

===================================  =======================  ====================================
transform                            from -> to               what it is
===================================  =======================  ====================================
:func:`with_heads`                   Network -> Network       named heads on one trunk
:func:`supervised`                   loss -> Objective        targets in the batch
:func:`weighted`                     Objectives -> Objective  a weighted sum
:func:`augmented`                    Objective -> Objective   each batch seen augmented
:func:`mixup`                        Objective -> Objective   convex combinations of examples
:func:`cutmix`                       Objective -> Objective   boxes of one image in another
:func:`mean_teacher`                 Objective -> Objective   consistency with an average of oneself
:func:`uncertainty_aware_teacher`    Objective -> Objective   the same where the teacher is sure
:func:`pi_model`                     Objective -> Objective   consistency of two passes
:func:`pseudo_label`                 Objective -> Objective   FixMatch, FlexMatch
:func:`entropy_minimisation`         Objective -> Objective   decided about unlabelled images
:func:`cross_pseudo`                 Objective -> Objective   two networks that teach each other
:func:`mixmatch`                     view -> Objective        given and guessed labels, mixed
:func:`ensemble`                     Learner -> Learner       independent members as one program
:func:`alternate`                    Learners -> Learner      players that take turns
===================================  =======================  ====================================
"""

from jaxmed.paradigms._alternate import alternate
from jaxmed.paradigms._augmented import augmented
from jaxmed.paradigms._cross_pseudo import cross_pseudo
from jaxmed.paradigms._ensemble import ensemble, member, member_key
from jaxmed.paradigms._entropy import entropy_minimisation
from jaxmed.paradigms._heads import Head, with_heads
from jaxmed.paradigms._mean_teacher import mean_teacher, predict_with_teacher
from jaxmed.paradigms._mixing import cutmix, mixup
from jaxmed.paradigms._mixmatch import mixmatch
from jaxmed.paradigms._pi_model import pi_model
from jaxmed.paradigms._pseudo_label import pseudo_label
from jaxmed.paradigms._supervised import supervised
from jaxmed.paradigms._uncertainty_aware import uncertainty_aware_teacher
from jaxmed.paradigms._weighted import weighted

__all__ = [
    "Head",
    "alternate",
    "augmented",
    "cross_pseudo",
    "cutmix",
    "ensemble",
    "entropy_minimisation",
    "mean_teacher",
    "member",
    "member_key",
    "mixmatch",
    "mixup",
    "pi_model",
    "predict_with_teacher",
    "pseudo_label",
    "supervised",
    "uncertainty_aware_teacher",
    "weighted",
    "with_heads",
]
