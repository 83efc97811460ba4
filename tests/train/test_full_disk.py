"""A disk that is full: the state that was saved stays, nothing half is left, the place is named."""

from __future__ import annotations

import errno
import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmed.train import _checkpoint, restore, save


def full_of(monkeypatch, error):
    """Let Orbax fail in the midst of writing."""
    true = _checkpoint._checkpointer

    class Failing:
        def __enter__(self):
            self.inner = true()
            return self

        def __exit__(self, *_):
            self.inner.close()

        def save(self, path, **_):
            (path.parent / f"{path.name}.orbax-checkpoint-tmp").mkdir()
            raise error

    monkeypatch.setattr(_checkpoint, "_checkpointer", Failing)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed to write 9 bytes: No space left on device [..]"),
    ],
)
def test_a_checkpoint_that_does_not_fit_leaves_the_earlier_one(tmp_path, monkeypatch, error):
    state = {"w": jnp.arange(3.0)}
    save(tmp_path, 1, state, {})
    with monkeypatch.context() as patch:
        full_of(patch, error)
        with pytest.raises(OSError, match=tmp_path.name) as caught:
            save(tmp_path, 2, {"w": jnp.zeros(3)}, {})
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    np.testing.assert_array_equal(restore(tmp_path, state).state["w"], state["w"])
    with monkeypatch.context() as patch:  # another error is not taken for a full disk
        full_of(patch, ValueError("something else"))
        with pytest.raises(ValueError, match="something else"):
            save(tmp_path, 2, state, {})


def test_what_cannot_fit_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 1, {"w": jnp.zeros(26)}, {})
    assert not [*tmp_path.iterdir()]
    save(tmp_path, 1, {"w": jnp.zeros(25)}, {})
