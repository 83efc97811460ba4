"""Compile the native kernels, once per machine and version.

The C++ files are compiled against the headers of jax and of the wheel
``onednn-devel-cpu-gomp`` and linked to the library of ``onednn-cpu-gomp`` (both come
with ``pip install jaxmed[cpu]``). The result is cached in a private folder of the user's cache
under a name derived from the source, the compiler and the versions it was built with, so any
change triggers a rebuild. The first convolution of a process builds automatically if nothing is
cached; the command ``python -m jaxmed.ops.build`` builds ahead of time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax

from jaxmed.ops._cache import BuildError, NotOffered, cache_folder, check_private, lock

_SOURCES = Path(__file__).parent / "_native"
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp", "-w")
_TIMEOUT = 300.0


class Extension(NamedTuple):
    """Paths of the libraries to load.

    Attributes:
      library: The compiled handlers.
      onednn: The oneDNN library, which must be loaded first.
    """

    library: Path
    onednn: Path


def build(*, verbose: bool = False) -> Extension:
    """Return the compiled extension, compiling it if it is not in the cache.

    Safe to call from several processes at once: one compiles, the others wait, and the file
    appears atomically.

    Args:
      verbose: Print the compiler command.

    Returns:
      Paths of the two libraries.

    Raises:
      BuildError: If a wheel or the compiler is missing, the system is unsupported, the cache
        folder is missing or open to others, its lock is held for too long, or compilation fails.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise NotOffered(
            f"built on Linux x86-64 only, not {platform.system()} on {platform.machine()}"
        )
    onednn = _file_of("onednn-cpu-gomp", "libdnnl.so.3")
    header = _file_of("onednn-devel-cpu-gomp", "dnnl.hpp")
    folder = cache_folder()
    source = _fingerprint(onednn)
    compiler = _compiler()
    if compiler is None:
        # Compiled here before, or brought along: what was built from this source will do.
        kept = sorted(folder.glob(f"conv-{source}-*.so"))
        if not kept:
            raise BuildError("no C++ compiler (g++) on the path")
        check_private(kept[-1])
        return Extension(kept[-1], onednn)
    library = folder / f"conv-{source}-{_identity(compiler)}.so"
    try:
        if not library.exists():
            with lock(library.with_suffix(".lock")):
                if not library.exists():
                    _compile(compiler, library, onednn, header, verbose)
    except OSError as error:
        raise BuildError(f"cannot write {library.parent}: {error}") from error
    check_private(library)
    return Extension(library, onednn)


def _compiler() -> list[str] | None:
    """Return the command of the C++ compiler, or None."""
    chosen = os.environ.get("CXX")
    if chosen:
        return chosen.split()
    found = shutil.which("g++") or shutil.which("c++")
    return [found] if found else None


def _identity(compiler: list[str]) -> str:
    """Return a short name of the compiler: another one, or another version, builds anew."""
    try:
        said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the compiler did not run: {error}") from error
    text = "\n".join([*compiler, *said.stdout.splitlines()[:1]])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _compile(compiler: list[str], library: Path, onednn: Path, header: Path, verbose: bool) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [
            *compiler,
            *_FLAGS,
            f"-I{jax.ffi.include_dir()}",
            f"-I{header.parent}",
            *(str(path) for path in sorted(_SOURCES.glob("*.cc"))),
            str(onednn),
            "-o",
            str(made),
        ]
        if verbose:
            print(" ".join(command))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"the compiler did not run: {error}") from error
        if done.returncode:
            raise BuildError(f"{' '.join(compiler)} failed:\n{done.stderr[-2000:]}")
        made.chmod(0o700)
        made.replace(library)


def _file_of(distribution: str, name: str) -> Path:
    """Return the path of a file installed by a wheel."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise NotOffered(f"{distribution} is not installed (pip install jaxmed[cpu])") from None
    for file in files:
        if file.name == name:
            path = Path(str(file.locate())).resolve()
            if path.exists():
                return path
    raise BuildError(f"{distribution} has no {name}")


def _fingerprint(onednn: Path) -> str:
    parts = (
        *(path.read_text() for path in sorted(_SOURCES.glob("*.[ch]*"))),
        " ".join(_FLAGS),
        metadata.version("jaxlib"),
        metadata.version("onednn-devel-cpu-gomp"),
        str(onednn),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
