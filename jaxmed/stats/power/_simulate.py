"""Power by simulation of a planned study: thousands of studies in one compiled program."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import special

from jaxmed.stats._result import Estimate
from jaxmed.stats.checks import check_level, check_rate, check_whole
from jaxmed.stats.diagnostic._proportion import proportion_limits

if TYPE_CHECKING:
    import jax


class _Fields(NamedTuple):
    draw: Callable[[jax.Array, int], Any]
    p_value: Callable[[Any], Any]
    unit: str
    finding: str
    smallest: int
    on_host: Callable[[np.random.Generator, int, int], Any] | None


class PlannedStudy(_Fields):
    """A study to simulate: its data-generating process and its test.

    Attributes:
        draw: `(key, n) -> data`, a pure JAX function of a key and a whole number of units.
        p_value: `(data) -> p`, a pure JAX function that returns a scalar.
        unit: name of the unit counted by n.
        finding: the expected finding, for the protocol's sentence.
        smallest: n below which the study makes no sense.
        on_host: the same study in NumPy, `(rng, n, studies) -> (studies,) p-values`, used on a CPU
            where there is one: for tests that sort, which XLA does slowly there.
    """

    __slots__ = ()

    def __new__(
        cls,
        draw: Callable[[jax.Array, int], Any],
        p_value: Callable[[Any], Any],
        unit: str = "cases",
        finding: str = "the effect",
        smallest: int = 8,
        on_host: Callable[[np.random.Generator, int, int], Any] | None = None,
        *,
        told: str | None = None,
    ) -> PlannedStudy:
        """Make a study; ``told`` is the old name of ``finding``."""
        if told is not None:
            _renamed()
            finding = told
        return super().__new__(cls, draw, p_value, unit, finding, smallest, on_host)

    @property
    def told(self) -> str:
        """The old name of ``finding``."""
        _renamed()
        return self.finding


def _renamed() -> None:
    warnings.warn(
        "PlannedStudy.told is now PlannedStudy.finding; the old name will be removed in a later "
        "release",
        DeprecationWarning,
        stacklevel=3,
    )


def simulate_power(
    study: PlannedStudy,
    n: int,
    *,
    studies: int = 10_000,
    alpha: float = 0.05,
    level: float = 0.95,
    seed: int = 0,
    batch: int | None = None,
) -> Estimate:
    """Estimate the power of a planned study by simulation.

    All studies are one compiled program: drawn, tested and counted on the device, in batches that
    bound the memory. On a CPU, a study that has a form `on_host` is simulated by NumPy: other draws
    of the same law.

    Args:
        study: how data come about and are tested: `planned_aucs`, `planned_rates`,
            `planned_means`, or your own `PlannedStudy`.
        n: units of the study.
        studies: simulated.
        alpha: p-values up to it reject.
        level: confidence level of the interval, which is Wilson's and holds the Monte-Carlo error
            alone.
        seed: same seed, same answer.
        batch: number of studies at a time; by default about a million scores' worth.

    Returns:
        The power; `n` counts simulated studies.

    Raises:
        ValueError: fewer units than the study's least, no studies, alpha outside (0, 1), or
            p-values that are not finite.

    Examples:
        >>> from jaxmed.stats import planned_means
        >>> study = planned_means(0.5, sd=1.0)  # as power_t(0.5, n=34, power=...) has it: .81
        >>> bool(abs(simulate_power(study, 34, studies=2000).value - 0.81) < 0.03)
        True
    """
    check_level(level)
    if n < study.smallest or studies < 1:
        raise ValueError(
            f"the study needs at least {study.smallest} {study.unit} and 1 simulation, got "
            f"n={n}, studies={studies}"
        )
    n, studies = check_whole(n, "n", 1), check_whole(studies, "studies", 1)
    check_rate(alpha, "alpha")
    width = batch or int(np.clip(1_000_000 // n, 1, studies))
    if study.on_host is not None and _on_cpu():
        found = np.asarray(study.on_host(np.random.default_rng(seed), int(n), int(studies)))
    else:
        found = np.asarray(_program(study.draw, study.p_value, int(n), int(studies), width)(seed))
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found)).sum())
        raise ValueError(f"p_value is not finite in {bad} of {studies} simulated studies")
    rejected = int((found <= alpha).sum())
    low, high = proportion_limits(rejected, studies, level=level)
    power = rejected / studies
    return Estimate(
        power,
        float(low),
        float(high),
        level,
        studies,
        "simulated study",
        "simulation, wilson",
        se=math.sqrt(power * (1 - power) / studies),
        details={"size": n, "alpha": alpha, "seed": seed},
        name="power",
    )


def simulate_size(
    study: PlannedStudy,
    *,
    power: float = 0.8,
    studies: int = 10_000,
    alpha: float = 0.05,
    seed: int = 0,
    start: int = 100,
    largest: int = 100_000,
    rounds: int = 12,
) -> tuple[int, Estimate]:
    r"""Search by simulation the size at which a planned study reaches a given power.

    The probit of the power is close to linear in :math:`\sqrt n`: a line through the sizes tried
    gives the next one, until it moves by less than one in a hundred.

    Args:
        study: as in `simulate_power`.
        power: wanted.
        studies: simulated at each size.
        alpha: as in `simulate_power`.
        seed: as in `simulate_power`.
        start: first size tried.
        largest: size beyond which the search stops.
        rounds: maximum number of sizes tried.

    Returns:
        The size, and the power simulated there.

    Raises:
        ValueError: a power outside (0, 1), or one that is not reached by `largest`.

    Examples:
        >>> from jaxmed.stats import planned_means
        >>> n, found = simulate_size(planned_means(0.5, sd=1.0), studies=1000)  # power_t says 34
        >>> 30 <= n <= 38
        True
    """
    check_rate(power, "power")
    check_rate(alpha, "alpha")
    for name, value in (("start", start), ("largest", largest), ("rounds", rounds)):
        check_whole(value, name, 1)
    wanted, reject = float(special.ndtri(power)), float(special.ndtri(1 - alpha / 2))
    tried: dict[int, Estimate] = {}

    def probit(n: int) -> float:
        if n not in tried:
            tried[n] = simulate_power(study, n, studies=studies, alpha=alpha, seed=seed)
        edge = 0.5 / studies
        return float(special.ndtri(np.clip(tried[n].value, edge, 1 - edge)))

    n = int(np.clip(start, study.smallest, largest))
    for _ in range(rounds):
        found = probit(n)
        if abs(found - wanted) < 1e-9:
            break
        sizes = sorted(tried, key=lambda m: abs(probit(m) - wanted))[:2]
        if len(sizes) == 2 and sizes[0] != sizes[1]:
            x = np.sqrt(sizes)
            y = [probit(m) for m in sizes]
            slope = (y[1] - y[0]) / (x[1] - x[0])
            root = x[0] + (wanted - y[0]) / slope if slope > 0 else math.sqrt(2 * max(sizes))
        else:  # through the size of the test at n = 0
            slope = (found + reject) / math.sqrt(n)
            root = (wanted + reject) / slope if slope > 0.02 else math.sqrt(4 * n)
        step = int(np.clip(math.ceil(root**2 - 1e-9), max(n / 8, study.smallest), 8 * n))
        following = int(np.clip(step, study.smallest, largest))
        if following in tried or abs(following - n) < 0.01 * n:
            n = following
            break
        n = following
    probit(n)
    if tried[n].value < power - 4 * max(tried[n].se or 0, 1 / studies):
        raise ValueError(
            f"{n} {study.unit} give a power of {tried[n].value:.3f}, short of {power}: is there an "
            "effect?"
        )
    return n, tried[n]


def _on_cpu() -> bool:
    import jax

    return jax.default_backend() == "cpu"


@functools.lru_cache(maxsize=32)
def _program(
    draw: Callable, p_value: Callable, n: int, studies: int, batch: int
) -> Callable[[int], Any]:
    """Return the compiled simulation: from a seed to (studies,) p-values."""
    import jax

    def one(key: jax.Array) -> jax.Array:
        return p_value(draw(key, n))

    def run(seed: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(seed), studies)
        return jax.lax.map(one, keys, batch_size=batch)

    return jax.jit(run)
