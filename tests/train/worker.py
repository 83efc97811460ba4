"""Runs in processes of their own, each killed at a moment of its plan; see test_resume.py.

``python worker.py FOLDER PLAN``: PLAN is a JSON list of ``{"kill": ..., "out": ..., ...}``, run one
after the other. ``kill`` is a step (killed when the batch of that step is asked for),
``"checkpoints"`` or ``"best"`` (killed while such a checkpoint is being written), or null. Each is
a fork of this process, made before JAX has started, so that the imports are paid once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import tensorboardX  # noqa: F401
import toy

from jaxmed import train

warnings.simplefilter("error")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Killing:
    """Batches that kill the process when asked for those of a step."""

    def __init__(self, batches, at):
        self.batches, self.at = batches, at

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, step):
        return self.batches[step]

    def iterate(self, start):
        for step, batch in enumerate(self.batches.iterate(start), start):
            if step == self.at:
                die()
            yield batch


def kill_in_write(folder):
    """Kill this process as soon as an unfinished checkpoint is seen in the folder."""

    def watch():
        while True:
            if folder.is_dir():
                for path in folder.iterdir():
                    # Files of arrays, so that the write is well under way.
                    if not path.name.isdecimal() and any(path.glob("*state*/*")):
                        die()
            time.sleep(0.0002)

    threading.Thread(target=watch, daemon=True).start()


def run(folder, plan):
    kill = plan.pop("kill", None)
    out = folder / plan.pop("out")
    batches = toy.batches(seed=plan.pop("data_seed", 0))
    if isinstance(kill, int):
        batches = Killing(batches, kill)
    elif kill is not None:
        kill_in_write(out / kill)
    learner = toy.learner()

    def evaluate(state):
        scores = train.predict(learner, state, toy.arrays(9, seed=1))
        return {"score": float(scores[:, 1].sum())}

    whole = train.Placement(compile_epochs=plan.pop("compile_epochs", False))
    written = {k: plan.pop(k) for k in ("checkpoint_every", "keep", "log_every") if k in plan}
    result = train.fit(
        learner,
        batches,
        out=train.Output(out, **written),
        devices=whole,
        evaluate=evaluate,
        monitor="score",
        progress=False,
        **plan,
    )
    leaves = [
        jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves((result.state, result.best_state))
    ]
    np.savez(out / "leaves.npz", *leaves)
    (out / "history.json").write_text(json.dumps([result.history, result.best, result.step]))


def main():
    folder, plans = Path(sys.argv[1]), json.loads(sys.argv[2])
    train.enable_compilation_cache(folder / "cache")
    for plan in plans:
        # Python warns of forks among threads; here there are none of JAX's yet.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            status = 1
            try:
                run(folder, plan)
                status = 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
