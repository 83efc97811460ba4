"""The laws of an augmentation."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmed.core import Batch, Key
from jaxmed.testing._draws import keys_of
from jaxmed.testing._law import Laws, assert_close, assert_same


def check_augment(
    step: Callable[[Key, Batch], Batch],
    batch: Batch,
    *,
    key: Key | None = None,
    rtol: float = 1e-4,
) -> list[str]:
    """Check that an augmentation, or any ``(key, batch) -> batch``, obeys the augmentation laws.

    The laws on keys are checked on the key data themselves, in the traced program: numbers drawn
    from one key are not independent, even if the second draw belongs to another step, has another
    shape or derives the same key differently. For example, a box whose size and presence are drawn
    from one key is always small when present. Draw once and reuse the numbers, or derive a key for
    each draw by ``jaxmed.core.stream(key, name)``.

    Args:
        step: the augmentation: a step, a chain, or any function.
        batch: a batch with the fields it acts on and at least two examples.
        key: random key; ``jax.random.key(0)`` if absent.
        rtol: relative tolerance between a compiled and an eager call.

    Returns:
        The names of the laws checked.

    Raises:
        AssertionError: names the first violated law.
        ValueError: if the batch has no array of at least two examples.

    Examples:
        >>> from jaxmed import augment
        >>> batch = {"image": jnp.arange(32.0).reshape(2, 4, 4, 1)}
        >>> check_augment(augment.flip(), batch)[0]
        'no key is drawn from twice'
    """
    rows = [jnp.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if jnp.ndim(leaf)]
    if not rows or rows[0] < 2:
        raise ValueError("check_augment needs a batch of at least two examples")
    key = jax.random.key(0) if key is None else key
    batch = {name: jax.tree.map(jnp.asarray, value) for name, value in batch.items()}
    law = Laws("the augmentation")
    keys = keys_of(step, key, batch)

    def once():
        for each, times in keys.drawn.items():
            assert times == 1, f"{times} draws from one key, of the shapes {keys.shapes[each]}"

    law("no key is drawn from twice", once)

    def apart():
        both = [each for each in keys.drawn if each in keys.derived]
        shapes = [keys.shapes[each] for each in both]
        assert not both, f"draws of the shapes {shapes} from a key that others are derived from"

    law("a key is drawn from or derived from, not both", apart)
    made = step(key, batch)
    law("the same key gives the same batch", lambda: assert_same(step(key, batch), made))
    law(
        "a compiled call equals an eager one",
        lambda: assert_close(jax.jit(step)(key, batch), made, rtol=rtol),
    )

    def fields():
        assert sorted(made) == sorted(batch), f"fields {sorted(batch)} became {sorted(made)}"
        for name, value in batch.items():
            for old, new in zip(jax.tree.leaves(value), jax.tree.leaves(made[name]), strict=True):
                assert old.dtype == new.dtype, f"{name} is {new.dtype}, was {old.dtype}"
                assert old.shape[:1] == new.shape[:1], f"{name} is {new.shape}, was {old.shape}"

    law("fields keep their names, types and examples", fields)
    return law.held
