"""Gaussian images, of which the best guess from a noisy one is known in closed form."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxmed.core import Network
from jaxmed.generative import ddpm, edm, flow

PROCESSES = {
    "ddpm, noise": ddpm("linear", predicts="noise"),
    "ddpm, image": ddpm("linear", predicts="image"),
    "ddpm, velocity": ddpm("cosine", predicts="velocity"),
    "edm": edm(data=1.5, highest=30.0, lowest=0.01),
    "flow": flow(),
}


class Gaussian:
    """Images of 2 x 2 pixels: their mean, covariance, and the exact denoiser as a network."""

    def __init__(self, values=(0.04, 0.3, 1.0, 2.5)):
        rng = np.random.default_rng(0)
        self.shape = (2, 2, 1)
        self.mean = rng.normal(size=4)
        basis = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        self.values, self.basis = np.array(values), basis
        self.covariance = basis * self.values @ basis.T

    def denoised(self, x, a, b):
        """The mean of an image given a noisy one; all flat, a and b of each row."""
        mean, basis = jnp.asarray(self.mean, x.dtype), jnp.asarray(self.basis, x.dtype)
        values = jnp.asarray(self.values, x.dtype)
        part = (x - a * mean) @ basis
        return mean + (part * (a * values / (a**2 * values + b**2))) @ basis.T

    def network(self, process, bias=0.0):
        """What a network that has learned all there is to learn would answer.

        ``bias`` is added to the denoised image for each known class, so that conditions show.
        """

        def apply(params, state, inputs, *, key=None, train=False):
            told = inputs["time"]
            t = jnp.exp(4 * told) if process.path == "karras" else told
            row = lambda v: v[:, None]  # noqa: E731
            x = inputs["image"].reshape(len(told), -1) / row(process.input_scale(t))
            a, b = process.levels(t)
            image = self.denoised(x, row(a), row(b))
            if bias and "label" in inputs:
                known = inputs.get("known", jnp.ones(len(told)))
                image = image + row(bias * (inputs["label"] + 1) * known)
            skip, gain = process.parts(t)
            found = (image - row(skip) * x) / row(gain)
            return {"logits": found.reshape(inputs["image"].shape)}, state

        return Network(lambda key, inputs: ({}, {}), apply)
