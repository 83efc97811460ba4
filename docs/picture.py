"""The picture of the first page: ``python docs/picture.py`` writes docs/images/phantom.png.

Five small U-Nets, trained as one program on noisy phantoms, segment one that they have not seen;
the library's own figure shows what they find and where they disagree.
"""

from pathlib import Path

import jax
import numpy as np

import jaxmed as jm

train = jm.data.phantoms.segmentation(48, (64, 64), classes=4, noise=0.1, bias=0.3, seed=0)
test = jm.data.phantoms.segmentation(32, (64, 64), classes=4, noise=0.1, bias=0.3, seed=1)

plan = jm.networks.UNetPlan(
    features=(8, 16, 32, 32), strides=(1, 2, 2, 2), kernels=(3, 3, 3, 3), depths=(1, 1, 1, 1),
    decoder_depths=(1, 1, 1),
)  # fmt: skip
network = jm.from_linen(jm.networks.unet(4, plan=plan))
objective = jm.augmented(jm.supervised(jm.losses.dice_ce, target="mask"), jm.augment.flip())
batches = jm.data.batches(train, 12, seed=0)
optimizer = jm.train.optimizer("adam", 1e-2, schedule="cosine", steps=60 * len(batches))
learner = jm.ensemble(jm.learner(network, objective, optimizer), 5)
result = jm.fit(learner, batches, seed=0, epochs=60, progress=False)

images, masks = jm.data.column(test, "image"), jm.data.column(test, "mask")
probs = np.asarray(jax.nn.softmax(learner.predict(result.state, images)["logits"]))
dice = jm.metrics.dice(activation=None)
print("mean Dice of the shapes", jm.metrics.evaluate(dice, probs.mean(0), masks))
doubt = [float(jm.bayes.decompose(probs[:, i]).epistemic.mean()) for i in range(len(images))]
shown = int(np.argsort(doubt)[-2])
figure = jm.report.uncertainty_map_figure(
    images[shown], probs[:, shown], truth=masks[shown], classes=test.classes
)
figure.savefig(Path(__file__).parent / "images" / "phantom.png", dpi=130)
