"""The data, networks and priors of the judge: small enough for long chains over all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmed as jm
from jaxmed import bayes

from ._unit_layers import Cnn, Mlp


class Case(NamedTuple):
    """One problem of inference.

    `make` gives the network at a rate of dropout. Its weights are in units of their prior, which is
    standard normal: `N(0, scale^2 / fan_in)` for kernels, `N(0, scale^2)` for biases.
    """

    name: str
    make: Any
    likelihood: bayes.Likelihood
    train: dict[str, np.ndarray]
    test: np.ndarray
    target: np.ndarray
    noise: float | None

    @property
    def network(self) -> jm.Network:
        """Without dropout."""
        return self.make(0.0)


def gap1d() -> Case:
    """A curve seen left and right of a gap: 50 points, noise 0.1, 41 inputs between and beyond."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-1.0, -0.4, 25), rng.uniform(0.4, 1.0, 25)])[:, None]
    curve = lambda x: np.sin(4 * x[:, 0]) * x[:, 0]  # noqa: E731
    y = curve(x) + 0.1 * rng.normal(size=len(x))
    new = np.linspace(-1.3, 1.3, 41)[:, None]
    return _mlp("gap1d", x, y, new, curve(new), hidden=20, scale=2.0, noise=0.1)


def wdbc() -> Case:
    """Wisconsin breast masses: 3 features of 80 cases; 40 others are predicted."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "case='wdbc' is read from scikit-learn: pip install scikit-learn"
        ) from error
    x, y = load_breast_cancer(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(x))[:120]
    # Texture, smoothness, symmetry: features that leave doubt.
    x, y = x[rows][:, [1, 4, 8]], y[rows]
    x = (x - x[:80].mean(0)) / x[:80].std(0)
    return _mlp("wdbc", x[:80], y[:80], x[80:], y[80:], hidden=10, scale=1.5, noise=None)


def breastmnist(images: int = 120) -> Case:
    """Ultrasound of breasts at half size: benign or not, by a convolutional network.

    The prior's scale is the one of 1, 1.5, 2.5 at which an ensemble trained on these images has the
    lowest log-loss on the validation images.
    """
    parts = []
    for part in ("train", "test"):
        source = jm.data.medmnist("breastmnist", part)
        image = np.stack([source[i]["image"] for i in range(len(source))]).astype(np.float32)
        image = image.reshape(len(image), 14, 2, 14, 2, 1).mean(axis=(2, 4))
        parts.append((image, np.asarray(jm.data.column(source, "label")).astype(int)))
    (x, y), (new, target) = parts
    rows = np.random.default_rng(0).permutation(len(x))[:images]
    x, y = x[rows], y[rows]
    centre, spread = x.mean(), x.std()
    return Case(
        "breastmnist",
        lambda dropout: jm.from_linen(Cnn((4, 8), 2.5, dropout)),
        bayes.bernoulli(),
        {"image": (x - centre) / spread, "label": y},
        (new - centre) / spread,
        target,
        None,
    )


def table(path: Path, hidden: int, scale: float, noise: float) -> Case:
    """A table of one's own: arrays `X`, `y`, `X_test`, `y_test`; 0/1 integers are classes."""
    with np.load(path) as file:
        missing = sorted({"X", "y", "X_test", "y_test"} - set(file))
        if missing:
            raise ValueError(f"{path} has no array {missing[0]!r}; it has {sorted(file)}")
        x, y, new, target = (file[name] for name in ("X", "y", "X_test", "y_test"))
    classes = bool(np.isin(y, (0, 1)).all())
    noise_sd = None if classes else noise
    return _mlp(path.stem, x, y, new, target, hidden=hidden, scale=scale, noise=noise_sd)


def _mlp(name, x, y, new, target, *, hidden, scale, noise) -> Case:
    classes = noise is None
    kind = int if classes else np.float32
    return Case(
        name,
        lambda dropout: jm.from_linen(Mlp(hidden, scale, dropout)),
        bayes.bernoulli() if classes else bayes.normal(noise),
        {"image": np.asarray(x, np.float32), "label": np.asarray(y, kind)},
        np.asarray(new, np.float32),
        np.asarray(target, kind),
        noise,
    )


def start(case: Case, key: jax.Array, dropout: float = 0.0) -> Any:
    """Parameters drawn from the prior."""
    return case.make(dropout).init(key, jnp.asarray(case.train["image"][:1]))[0]
