"""Programs compiled once and for all."""

from __future__ import annotations

from pathlib import Path

import jax


def enable_compilation_cache(folder: str | Path) -> Path:
    """Keep compiled programs in a folder, so that the next process need not compile them.

    Programs are found again by what they compute, the devices and the version of jaxlib. The
    setting is JAX's own and holds for the whole process.

    Args:
        folder: made if absent; may be shared by many runs.

    Returns:
        The folder.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX leaves out small and quickly compiled programs; a run is made of many of those too.
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder
