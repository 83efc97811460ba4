"""Loggers: where a run's records go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxmed._files import naming, write_whole
from jaxmed._json import to_json


class Logger(NamedTuple):
    """Where records go: three functions.

    Attributes:
        start: ``(step) -> None``: a run begins, or resumes after ``step`` steps. What was logged of
            later steps is dropped, for it comes again.
        write: ``(record) -> None``: a dict of ``step`` and named numbers.
        close: ``() -> None``.
    """

    start: Callable[[int], None]
    write: Callable[[dict[str, Any]], None]
    close: Callable[[], None]


def jsonl(path: str | Path) -> Logger:
    r"""Log to a file of JSON lines; NaN is written as ``null``, an infinity as its name.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    >>> log = jsonl(path)
    >>> log.start(0)
    >>> log.write({"step": 1, "train/loss": 0.5})
    >>> path.read_text()
    '{"step": 1, "train/loss": 0.5}\n'
    """
    path = Path(path)

    def start(step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if step and path.exists():
            for line in path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (ValueError, KeyError, TypeError):
                    continue  # A line cut short when the process was killed.
        write_whole(path, "".join(line + "\n" for line in kept))

    def write(record: dict[str, Any]) -> None:
        with naming(path), path.open("a") as file:
            file.write(to_json(record, indent=None) + "\n")

    return Logger(start, write, lambda: None)


def tensorboard(folder: str | Path) -> Logger:
    """Log scalars for TensorBoard, by tensorboardX."""
    writers: list[Any] = []

    def start(step: int) -> None:
        from tensorboardX import SummaryWriter  # Imported here: it costs a third of a second.

        # TensorBoard hides what an earlier writer logged from purge_step on.
        writers.append(SummaryWriter(str(folder), purge_step=step + 1 if step else None))

    def write(record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name not in ("step", "epoch"):
                writers[-1].add_scalar(name, value, record["step"])
        with naming(folder):
            writers[-1].flush()

    def close() -> None:
        while writers:
            writer = writers.pop()
            try:
                with naming(folder):
                    writer.close()
            except OSError:
                # It would try again, and complain, when the process ends.
                writer.file_writer.event_writer._closed = True
                raise

    return Logger(start, write, close)
