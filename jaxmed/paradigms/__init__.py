"""Learning paradigms, each a transform on a Network, an Objective or a Learner.

===================================  =======================  ====================================
transform                            from -> to               what it is
===================================  =======================  ====================================
:func:`with_heads`                   Network -> Network       named heads on one trunk
:func:`multiple_instance`            Network -> Network       bags of instances, pooled
:func:`fuse`                         Networks -> Network      modalities, some of them missing
:func:`fuse_channels`                Network -> Network       the same as channels of one image
:func:`stacked`                      Networks -> Network      each sees the predictions below
:func:`towers`                       Networks -> Network      networks side by side
:func:`cross_stitch`                 stages -> Network        tasks that exchange activations
:func:`pretrained`                   Network -> Network       begun with given weights
:func:`frozen`                       Network -> Network       parameters that do not learn
:func:`lora`                         Network -> Network       kernels change by a low rank
:func:`adapters`                     Network -> Network       bottlenecks behind fixed layers
:func:`prototypical`                 Network -> Network       few shots: distances to class means
:func:`matching`                     Network -> Network       few shots: attention to the support
:func:`maml`                         Network -> Network       few shots: adapted by gradient steps
:func:`prototype_segmenter`          Network -> Network       few shots: voxels against masked means
:func:`supervised`                   loss -> Objective        targets in the batch
:func:`proportional_hazards`         -> Objective             Cox's partial likelihood of a batch
:func:`variable_projection`          -> Objective             features for the best linear head
:func:`weighted`                     Objectives -> Objective  a weighted sum
:func:`uncertainty_weighted`         Objectives -> Objective  weights by each task's uncertainty
:func:`gradnorm`                     Objectives -> Objective  tasks learn at one pace
:func:`pcgrad`                       Objectives -> Objective  conflicting gradients projected
:func:`soft_sharing`                 Objective -> Objective   parameters drawn together
:func:`l2_sp`                        Objective -> Objective   drawn to where they began
:func:`learning_loss`                Objective -> Objective   a head that ranks examples by loss
:func:`coral`, :func:`mmd`           Objective -> Objective   features alike in two domains
:func:`dann`                         Objective -> Objective   a critic that cannot tell domains
:func:`ewc`, :func:`si`              Objective -> Objective   parameters kept by their importance
:func:`lwf`                          Objective -> Objective   old answers kept on new images
:func:`replay`, :func:`a_gem`        Objective -> Objective   a memory of examples, learned again
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
:func:`autoencoder`                  -> Objective             plain, denoising, sparse
:func:`inpainting`                   -> Objective             fill in boxes cut out
:func:`masked_autoencoder`           -> Objective             guess hidden patches
:func:`rotation`                     -> Objective             tell quarter turns
:func:`relative_position`            -> Objective             tell where a tile belongs
:func:`jigsaw`                       -> Objective             tell the order of tiles
:func:`simclr`                       view -> Objective        views against the batch
:func:`supervised_contrast`          view -> Objective        classes against the batch
:func:`dense_contrast`               view -> Objective        places against the image
:func:`moco`                         view -> Objective        views against a queue
:func:`byol`, :func:`simsiam`        view -> Objective        predict the other view
:func:`vicreg`                       view -> Objective        agree, vary, do not repeat
:func:`barlow_twins`                 view -> Objective        correlation is the identity
:func:`dino`                         view -> Objective        answers of one's own average
:func:`mixstyle`                     Network -> Network       features in the style of others
:func:`batch_statistics`             Network -> Network       normalised by the images at hand
:func:`tent`                         Network -> Learner       adapted to test images by entropy
:func:`closed_form`                  Network -> Learner       least squares on its features
:func:`ensemble`                     Learner -> Learner       independent members as one program
:func:`bagging`                      Learner -> Learner       members on bootstraps of the examples
:func:`random_subspaces`             Learner -> Learner       members that see other features
:func:`alternate`                    Learners -> Learner      players that take turns
:func:`co_teaching`                  Network -> Learner       two networks, each by easy labels
===================================  =======================  ====================================
"""

from jaxmed.paradigms.adaptation._alignment import coral, dann, mmd
from jaxmed.paradigms.adaptation._batch_statistics import batch_statistics
from jaxmed.paradigms.adaptation._mix_style import mixstyle
from jaxmed.paradigms.adaptation._tent import tent
from jaxmed.paradigms.bags._multiple_instance import BAG, multiple_instance
from jaxmed.paradigms.base._alternate import alternate
from jaxmed.paradigms.base._augmented import augmented
from jaxmed.paradigms.base._bagging import bagging, out_of_bag
from jaxmed.paradigms.base._co_teaching import co_teaching
from jaxmed.paradigms.base._ensemble import ensemble, member, member_key
from jaxmed.paradigms.base._heads import Head, with_heads
from jaxmed.paradigms.base._learning_loss import learning_loss
from jaxmed.paradigms.base._mixing import cutmix, mixup
from jaxmed.paradigms.base._proportional_hazards import proportional_hazards
from jaxmed.paradigms.base._subspaces import random_subspaces
from jaxmed.paradigms.base._supervised import supervised
from jaxmed.paradigms.base._weighted import weighted
from jaxmed.paradigms.continual._ewc import Consolidated, consolidated, ewc, fisher_information
from jaxmed.paradigms.continual._lwf import lwf
from jaxmed.paradigms.continual._replay import a_gem, replay
from jaxmed.paradigms.continual._si import next_task, si
from jaxmed.paradigms.few_shot._episodic import EPISODE, matching, prototypical
from jaxmed.paradigms.few_shot._maml import maml
from jaxmed.paradigms.few_shot._prototype_segmenter import MASKED_EPISODE, prototype_segmenter
from jaxmed.paradigms.fusion._fuse import fuse, fuse_channels
from jaxmed.paradigms.least_squares._closed_form import ClosedForm, LeaveOneOut, closed_form
from jaxmed.paradigms.least_squares._stacked import stacked
from jaxmed.paradigms.least_squares._variable_projection import variable_projection
from jaxmed.paradigms.multi_task._cross_stitch import cross_stitch
from jaxmed.paradigms.multi_task._gradnorm import gradnorm
from jaxmed.paradigms.multi_task._pcgrad import pcgrad
from jaxmed.paradigms.multi_task._soft_sharing import soft_sharing
from jaxmed.paradigms.multi_task._towers import towers
from jaxmed.paradigms.multi_task._uncertainty import uncertainty_weighted
from jaxmed.paradigms.self_supervised._autoencoder import autoencoder, inpainting
from jaxmed.paradigms.self_supervised._byol import byol, simsiam
from jaxmed.paradigms.self_supervised._context import jigsaw, relative_position
from jaxmed.paradigms.self_supervised._contractive import contractive
from jaxmed.paradigms.self_supervised._decorrelation import barlow_twins, vicreg
from jaxmed.paradigms.self_supervised._dense_contrast import dense_contrast
from jaxmed.paradigms.self_supervised._dino import PrototypeHead, dino
from jaxmed.paradigms.self_supervised._masked_autoencoder import masked_autoencoder
from jaxmed.paradigms.self_supervised._moco import moco
from jaxmed.paradigms.self_supervised._rotation import rotation
from jaxmed.paradigms.self_supervised._simclr import simclr, supervised_contrast
from jaxmed.paradigms.semi_supervised._cross_pseudo import cross_pseudo
from jaxmed.paradigms.semi_supervised._entropy import entropy_minimisation
from jaxmed.paradigms.semi_supervised._mean_teacher import mean_teacher, predict_with_teacher
from jaxmed.paradigms.semi_supervised._mixmatch import mixmatch
from jaxmed.paradigms.semi_supervised._pi_model import pi_model
from jaxmed.paradigms.semi_supervised._pseudo_label import pseudo_label
from jaxmed.paradigms.semi_supervised._uncertainty_aware import uncertainty_aware_teacher
from jaxmed.paradigms.transfer._adapters import adapters
from jaxmed.paradigms.transfer._l2_sp import l2_sp
from jaxmed.paradigms.transfer._lora import lora, merge_lora
from jaxmed.paradigms.transfer._pretrained import frozen, pretrained

__all__ = [
    "BAG",
    "EPISODE",
    "MASKED_EPISODE",
    "ClosedForm",
    "Consolidated",
    "Head",
    "LeaveOneOut",
    "PrototypeHead",
    "a_gem",
    "adapters",
    "alternate",
    "augmented",
    "autoencoder",
    "bagging",
    "barlow_twins",
    "batch_statistics",
    "byol",
    "closed_form",
    "co_teaching",
    "consolidated",
    "contractive",
    "coral",
    "cross_pseudo",
    "cross_stitch",
    "cutmix",
    "dann",
    "dense_contrast",
    "dino",
    "ensemble",
    "entropy_minimisation",
    "ewc",
    "fisher_information",
    "frozen",
    "fuse",
    "fuse_channels",
    "gradnorm",
    "inpainting",
    "jigsaw",
    "l2_sp",
    "learning_loss",
    "lora",
    "lwf",
    "maml",
    "masked_autoencoder",
    "matching",
    "mean_teacher",
    "member",
    "member_key",
    "merge_lora",
    "mixmatch",
    "mixstyle",
    "mixup",
    "mmd",
    "moco",
    "multiple_instance",
    "next_task",
    "out_of_bag",
    "pcgrad",
    "pi_model",
    "predict_with_teacher",
    "pretrained",
    "proportional_hazards",
    "prototype_segmenter",
    "prototypical",
    "pseudo_label",
    "random_subspaces",
    "relative_position",
    "replay",
    "rotation",
    "si",
    "simclr",
    "simsiam",
    "soft_sharing",
    "stacked",
    "supervised",
    "supervised_contrast",
    "tent",
    "towers",
    "uncertainty_aware_teacher",
    "uncertainty_weighted",
    "variable_projection",
    "vicreg",
    "weighted",
    "with_heads",
]
