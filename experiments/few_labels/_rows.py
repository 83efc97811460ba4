"""The rows of the paradigm table: each a name, and the objectives it trains.

A row is one entry of `ROWS`. Its objectives see batches with `image` and `label`, the labelled
images, and `unlabelled`, drawn from all training images; they are made by functions of a `Setting`,
so that a row knows no data set. All numbers are the papers' or the library's defaults, and the same
for every data set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jaxmed as jm
from jaxmed.augment import Augmentation
from jaxmed.core import Network, Objective

from .._common.lite0 import imagenet


class Setting(NamedTuple):
    """What a row's objectives may depend on.

    Attributes:
        steps: of the phase.
        supervised: the labelled term, on weakly augmented images.
        weak: flip and shift.
        strong: rotate, scale, shade, blur, noise, cut out.
        shares: of the classes among the labelled images.
    """

    steps: int
    supervised: Objective
    weak: Augmentation
    strong: Augmentation
    shares: tuple[float, ...] = ()


class Row(NamedTuple):
    """One method.

    Attributes:
        family: under which the table lists it.
        paper: the source.
        objective: of the labelled phase.
        pretrain: of a phase before it, on the trunk alone and without labels.
        trunk: another start of the trunk, or another share of it that learns.
        teacher: whether the averaged teacher predicts.
    """

    family: str
    paper: str
    objective: Callable[[Setting], Objective] = lambda s: s.supervised
    pretrain: Callable[[Setting], Objective] | None = None
    trunk: Callable[[Network], Network] | None = None
    teacher: bool = False


def _ramp(s: Setting) -> int:
    return s.steps // 3


ROWS: dict[str, Row] = {
    "supervised": Row("supervised", "the baseline"),
    "supervised_strong": Row(
        "supervised",
        "the baseline under the strong augmentation",
        lambda s: jm.augmented(jm.supervised(jm.losses.cross_entropy), s.strong),
    ),
    "mean_teacher": Row(
        "semi-supervised",
        "Tarvainen and Valpola 2017",
        lambda s: jm.mean_teacher(
            s.supervised,
            decay=0.99,
            weight=8.0,
            ramp_steps=_ramp(s),
            student_view=s.weak,
            teacher_view=s.weak,
        ),
        teacher=True,
    ),
    "uncertainty_aware_teacher": Row(
        "semi-supervised",
        "Yu et al. 2019",
        lambda s: jm.paradigms.uncertainty_aware_teacher(
            s.supervised,
            passes=4,
            weight=8.0,
            ramp_steps=_ramp(s),
            student_view=s.weak,
            teacher_view=s.weak,
        ),
        teacher=True,
    ),
    "pi_model": Row(
        "semi-supervised",
        "Laine and Aila 2017",
        lambda s: jm.paradigms.pi_model(s.supervised, view=s.weak, weight=8.0, ramp_steps=_ramp(s)),
    ),
    "entropy_minimisation": Row(
        "semi-supervised",
        "Grandvalet and Bengio 2004",
        lambda s: jm.paradigms.entropy_minimisation(s.supervised, view=s.weak),
    ),
    "fixmatch": Row(
        "semi-supervised",
        "Sohn et al. 2020",
        lambda s: jm.pseudo_label(s.supervised, weak=s.weak, strong=s.strong),
    ),
    "fixmatch_aligned": Row(
        "semi-supervised",
        "the same with distribution alignment, Berthelot et al. 2020",
        lambda s: jm.pseudo_label(s.supervised, weak=s.weak, strong=s.strong, align=s.shares),
    ),
    "flexmatch": Row(
        "semi-supervised",
        "Zhang et al. 2021",
        lambda s: jm.pseudo_label(s.supervised, weak=s.weak, strong=s.strong, flexible=True),
    ),
    "mixmatch": Row(
        "semi-supervised",
        "Berthelot et al. 2019",
        lambda s: jm.paradigms.mixmatch(s.weak, ramp_steps=_ramp(s)),
    ),
    "cross_pseudo": Row(
        "semi-supervised",
        "Chen et al. 2021",
        lambda s: jm.paradigms.cross_pseudo(
            s.supervised, view=s.weak, twin_view=s.weak, ramp_steps=_ramp(s)
        ),
    ),
    "mixup": Row(
        "supervised",
        "Zhang et al. 2018",
        lambda s: jm.augmented(jm.mixup(jm.supervised(jm.losses.cross_entropy)), s.weak),
    ),
    "supervised_contrast": Row(
        "supervised",
        "beside cross-entropy, Khosla et al. 2020",
        lambda s: jm.weighted(
            {"labels": s.supervised, "contrast": jm.paradigms.supervised_contrast(s.strong)}
        ),
    ),
}


def _pretrained(paper: str, objective: Callable[[Setting], Objective]) -> Row:
    return Row("self-supervised", paper, pretrain=objective)


ROWS |= {
    "autoencoder": _pretrained(
        "denoising, Vincent et al. 2008",
        lambda s: jm.paradigms.autoencoder(jm.augment.noise((0.1, 0.3))),
    ),
    "inpainting": _pretrained("Pathak et al. 2016", lambda s: jm.paradigms.inpainting()),
    "masked_autoencoder": _pretrained(
        "on a convolutional network, He et al. 2022, Xie et al. 2022",
        lambda s: jm.paradigms.masked_autoencoder(4, ratio=0.6),
    ),
    "rotation": _pretrained("Gidaris et al. 2018", lambda s: jm.paradigms.rotation(view=s.weak)),
    "relative_position": _pretrained(
        "Doersch et al. 2015", lambda s: jm.paradigms.relative_position()
    ),
    "jigsaw": _pretrained("Noroozi and Favaro 2016", lambda s: jm.paradigms.jigsaw()),
    "simclr": _pretrained("Chen et al. 2020", lambda s: jm.paradigms.simclr(s.strong)),
    "moco": _pretrained("He et al. 2020", lambda s: jm.paradigms.moco(s.strong, queue=512)),
    "byol": _pretrained("Grill et al. 2020", lambda s: jm.paradigms.byol(s.strong)),
    "simsiam": _pretrained("Chen and He 2021", lambda s: jm.paradigms.simsiam(s.strong)),
    "vicreg": _pretrained("Bardes et al. 2022", lambda s: jm.paradigms.vicreg(s.strong)),
    "barlow_twins": _pretrained(
        "Zbontar et al. 2021", lambda s: jm.paradigms.barlow_twins(s.strong)
    ),
    "dino": _pretrained("Caron et al. 2021", lambda s: jm.paradigms.dino(s.strong)),
    "dense_contrast": _pretrained(
        "Pinheiro et al. 2020",
        lambda s: jm.augmented(
            jm.paradigms.dense_contrast(jm.augment.strong(geometry=False), level=1), s.weak
        ),
    ),
    "simclr_fixmatch": Row(
        "self- and semi-supervised",
        "SimCLR, then FixMatch",
        lambda s: jm.pseudo_label(s.supervised, weak=s.weak, strong=s.strong),
        pretrain=lambda s: jm.paradigms.simclr(s.strong),
    ),
}


# These want `--network lite0`.
TRANSFER = {
    "imagenet": Row("transfer", "ImageNet weights, all fine-tuned", trunk=imagenet),
    "imagenet_frozen": Row(
        "transfer",
        "ImageNet weights, the head alone trained",
        trunk=lambda trunk: jm.paradigms.frozen(imagenet(trunk), evaluate=True),
    ),
    "imagenet_l2_sp": Row(
        "transfer",
        "ImageNet weights as the prior, Li et al. 2018",
        lambda s: jm.paradigms.l2_sp(s.supervised, only="^trunk/"),
        trunk=imagenet,
    ),
    "imagenet_lora": Row(
        "transfer",
        "low-rank changes of ImageNet weights, Hu et al. 2022",
        trunk=lambda trunk: jm.paradigms.lora(imagenet(trunk), rank=4),
    ),
    "imagenet_adapters": Row(
        "transfer",
        "bottlenecks behind blocks of ImageNet weights, Houlsby et al. 2019",
        trunk=lambda trunk: jm.paradigms.adapters(imagenet(trunk), only="project/kernel$"),
    ),
}
ROWS |= TRANSFER
