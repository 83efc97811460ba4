"""Work that is interrupted: what it is started by, and what must be the same at its end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_TIMES = ("seconds", "created", "environment", "checklist", "command", "places", "load")
_CHANGING = (".html", ".md", ".log", ".txt", ".lock")  # They tell of times or of the machine.


class Work(NamedTuple):
    """One kind of work.

    Attributes:
        start: `(base, out) -> exit code`; started again it goes on.
        blows: names of those that can hit it.
        share: of the cases; work in several processes takes as long as several others.
    """

    start: Callable[[Path, Path], int]
    blows: tuple[str, ...]
    share: int = 3


def make(base: Path) -> None:
    """Write the data and the model that the works read."""
    import jax
    import jax.numpy as jnp
    from PIL import Image

    import jaxmed as jm
    from jaxmed import inference, networks

    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 90, (16, 16)) + 80 * (i % 2)
        (base / "new").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(base / "new" / f"{i:02}.png")
    recipe = inference.Recipe(
        ("background", "bright"), ("grey",), (1.0, 1.0), (8, 8),
        net=jm.from_linen(networks.Conv(2, 3)), normalisation="linear", linear=(1.0, 0.0),
    )  # fmt: skip
    params, state = recipe.network().init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    inference.save_model(base / "segmenter", inference.segmenter(recipe, params, state))
    (base / "trained.py").write_text(_EXPERIMENT)


def _train(base: Path, out: Path) -> int:
    from jaxmed.cli import main

    return main(["train", f"{base}/trained.py", "--epochs", "8", "--out", str(out)])


def _predict(base: Path, out: Path) -> int:
    from jaxmed.cli import main

    return main(["predict", f"{base}/segmenter", f"{base}/new", "-o", str(out), "--resume"])


def _study(base: Path, out: Path) -> int:
    from jaxmed import protocols

    arms = {"slow": _learner(1e-3), "fast": _learner(1e-2)}
    splits = protocols.k_fold(24, 3, seed=0)
    found = protocols.study(
        arms, _rows(24), splits, seeds=2, epochs=4, size=8, out=out, progress=False
    )
    outputs = [found.outputs[key] for key in sorted(found.outputs)]
    np.save(out / "outputs.npy", np.concatenate(outputs))
    return 1 if found.failures else 0


def _rounds(base: Path, out: Path) -> int:
    import jax

    import jaxmed as jm
    from jaxmed import data, protocols, train

    rows = _rows(40)
    learner = _learner(1e-2)

    def trained(which: Any, labels: Any, number: int) -> Any:
        chosen = {"image": rows["image"][which], "label": labels.astype(np.int32)}
        result = jm.fit(
            learner, data.batches(chosen, 8), epochs=6, progress=False,
            out=train.Output(out / f"round{number}", checkpoint_every=2, loggers=()),
        )  # fmt: skip

        def look(at: Any) -> dict[str, Any]:
            logits = train.predict(learner, result.state, {"image": rows["image"][at]})
            return {"samples": np.asarray(jax.nn.softmax(logits))}

        return look

    run = protocols.active_rounds(
        trained, [f"c{i}" for i in range(40)], acquire=protocols.ask_entropy, classes=2,
        oracle=lambda which: rows["label"][which], rounds=3, per_round=4, start=8, out=out,
        measure=lambda look, number: {"mean": float(look(np.arange(40))["samples"][:, 1].mean())},
    )  # fmt: skip
    np.save(out / "asked.npy", run.rows)
    return 0


def _grid(base: Path, out: Path) -> int:
    from benchmarks.__main__ import main

    words = f"grid {base}/trained.py --over epochs=4,6 --over seed=0,1 --within seed --workers 2"
    return main([*words.split(), "--out", str(out)])


WORKS: dict[str, Work] = {
    "training": Work(_train, ("SIGKILL", "SIGTERM", "full disk", "checkpoint cut")),
    "study": Work(_study, ("SIGKILL", "SIGTERM", "full disk")),
    "active rounds": Work(_rounds, ("SIGKILL", "SIGTERM", "full disk", "checkpoint cut")),
    "prediction of a folder": Work(_predict, ("SIGKILL", "SIGTERM", "full disk")),
    "grid": Work(_grid, ("SIGKILL", "SIGTERM", "worker lost"), share=1),
}


def end(out: Path) -> dict[str, str]:
    """What is in a folder at the end, by file: what it holds, times left out, as a checksum."""
    found: dict[str, str] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        parts = name.parts
        if path.is_dir() or "tensorboard" in parts or "compiled" in parts:
            continue
        if any(part.isdecimal() for part in parts):  # a checkpoint: its arrays are told once
            if path.name == "files.json":
                found[str(name.parent)] = _arrays(path.parent)
        elif path.suffix in _CHANGING or ".lock" in parts:
            found[str(name)] = ""
        else:
            found[str(name)] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.suffix == ".npz":
        with np.load(path) as file:
            parts = [f"{name}{_timeless_note(file[name])!r}" for name in sorted(file)]
        content = "".join(parts).encode()
    elif path.suffix in (".json", ".jsonl"):
        # Lines of a grid come in the order in which its processes end.
        whole = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
        rows = [json.dumps(_timeless(json.loads(line)), sort_keys=True) for line in whole]
        content = "\n".join(sorted(rows)).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _timeless_note(array: np.ndarray) -> Any:
    """Bytes of an array; of a note in JSON what it says without times."""
    if array.ndim == 0 and array.dtype.kind == "U":
        return _timeless(json.loads(str(array)))
    return array.tobytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(part) for name, part in value.items() if name not in _TIMES}
    return [_timeless(part) for part in value] if isinstance(value, list) else value


def _arrays(folder: Path) -> str:
    """The arrays of a checkpoint, of whatever tree."""
    import jax
    import orbax.checkpoint as ocp

    def plain(leaf: Any) -> np.ndarray:
        typed = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.ascontiguousarray(jax.random.key_data(leaf) if typed else leaf)

    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        item = ocp.args.Composite(state=ocp.args.StandardRestore())
        tree = checkpointer.restore(folder, args=item)["state"]
    digest = hashlib.sha256()
    for name in sorted(tree):
        digest.update(name.encode() + plain(tree[name]).tobytes())
    return digest.hexdigest()[:16]


def _rows(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(n, 4)).astype(np.float32)
    return {"image": image, "label": (image[:, 0] > 0).astype(np.int32)}


def _learner(rate: float) -> Any:
    import optax

    import jaxmed as jm
    from jaxmed import losses, networks

    net = jm.from_linen(networks.mlp(2, hidden=(8,), dropout=0.2))
    return jm.learner(net, jm.supervised(losses.cross_entropy), optax.adam(rate))


_EXPERIMENT = '''"""A small training, for many runs of it."""
from __future__ import annotations

import dataclasses
from pathlib import Path

import jaxmed as jm
import numpy as np
from benchmarks.reliability._work import _learner, _rows
from jaxmed import data, report, train


@dataclasses.dataclass(frozen=True)
class Config:
    """What it takes."""

    seed: int = 0
    epochs: int = 4


def run(config: Config, out: Path):
    rows = _rows(24)
    learner = _learner(1e-2)
    result = jm.fit(
        learner, data.batches(rows, 8, seed=config.seed), seed=config.seed, epochs=config.epochs,
        out=train.Output(out, checkpoint_every=2), progress=False,
    )
    logits = train.predict(learner, result.state, {"image": rows["image"]})
    score = 1 / (1 + np.exp(-np.asarray(logits)[:, 1]))
    return report.classification(rows["label"], score, title="of the soak")
'''
