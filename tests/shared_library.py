"""Compiling what tests load into processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def compile_library(sources: Sequence[Path], library: Path, *options: str) -> Path:
    """Compile a shared library with gcc, unless it is newer than its sources; return its absolute path.

    The result appears by rename, so several processes may build at once.

    Args:
        sources: C files and headers.
        library: what is made.
        options: of gcc, such as the libraries it links with.

    Raises:
        RuntimeError: gcc refused, with what it said.
    """
    library = library.resolve()
    newest = max(source.stat().st_mtime_ns for source in sources)
    if library.exists() and library.stat().st_mtime_ns > newest:
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    fresh = library.with_name(f".{library.name}.{os.getpid()}")
    command = ["gcc", "-std=gnu17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
    command += [str(source) for source in sources if source.suffix == ".c"]
    finished = subprocess.run(
        [*command, "-o", str(fresh), *options], capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        raise RuntimeError(f"gcc could not build {library.name}:\n{finished.stderr}")
    fresh.rename(library)
    return library
