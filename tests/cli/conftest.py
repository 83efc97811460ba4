"""An engine for executors that calls in this process."""

from __future__ import annotations

import pytest

from jaxmed.cli import _engines, _executors


class Engine:
    """An engine that calls in this process; of a task in `resources` so many calls are lost."""

    last: Engine

    def __init__(self, name, folder, workers, resources):
        self.room, self.lost, self.most = workers, resources, 0
        self.cancelled, self.jobs = [], {}

    def submit(self, function, task):
        self.jobs[str(task)] = function, task
        self.most = max(self.most, len(self.jobs))
        return str(task)

    def done(self, job):
        return True

    def result(self, job):
        function, task = self.jobs.pop(job)
        if self.lost.get(job, 0) > 0:
            self.lost[job] -= 1
            raise _engines.LostError("its process ended")
        return function(task)

    def cancel(self, job):
        self.cancelled.append(job)

    def close(self):
        Engine.last = self


@pytest.fixture
def engine(monkeypatch):
    """`--executor local` by such an engine; gives its class, whose `last` was closed last."""
    monkeypatch.setitem(_engines.ENGINES, "local", Engine)
    monkeypatch.setattr(_executors, "package_of", lambda name: None)
    return Engine
