"""A status store that is built over hours, from another host, and goes on after whoever builds it was killed.

The generation that is being built is named in a file, `BUILDING`, with where it comes from and when it was begun; how
far it has come stands in the generation itself, in the transaction that brought it there.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import HomeUnusable
from engine.status.status_store import CURRENT, Freshness, current_generation
from engine.status.status_store_writer import (
    CopyPosition,
    StatusWriter,
    files_in,
    name_in,
    new_name,
    remove_generations,
)

BUILDING = "BUILDING"

OLDEST_SECONDS = 2 * 86_400
"""A build that was begun longer ago is begun anew: what it has is as good as useless. A guess."""


class _Begun(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    generation: Annotated[str, Field(pattern=r"^generation-[0-9a-f]+$")]
    source: str
    began: int


class StoreBuild:
    """A generation being built.

    Args:
        directory: the status store.
        name: of the generation.

    Attributes:
        writer: writes it.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self.writer = StatusWriter(directory / name)

    def finish(self) -> StatusWriter:
        """Let readers change over to it; return its writer, which stays open. Other generations are removed.

        Raises:
            StoreError: the directory cannot be written.
        """
        with files_in(self._directory):
            name_in(self._directory, CURRENT, self._name)
            (self._directory / BUILDING).unlink(missing_ok=True)
        remove_generations(self._directory, but=self._name)
        return self.writer


def begin_build(directory: Path, source: str, now: int) -> StoreBuild:
    """Begin a generation from nothing; one that was begun before is thrown away, the one in use stays.

    Args:
        directory: the status store; made if missing.
        source: what it is a copy of.
        now: seconds since the epoch.

    Raises:
        StoreError: the directory cannot be written.
    """
    with files_in(directory):
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        (directory / BUILDING).unlink(missing_ok=True)
        in_use = ""
        with suppress(HomeUnusable):
            in_use = current_generation(directory).name
        remove_generations(directory, but=in_use)
        name = new_name()
        build = StoreBuild(directory, name)
        build.writer.write_copied([], CopyPosition(Freshness(0, 0), "", 0))
        name_in(directory, BUILDING, _Begun(generation=name, source=source, began=now).model_dump_json())
    return build


def resume_build(directory: Path, source: str, now: int) -> StoreBuild | None:
    """Open the build that was begun and not finished; None where there is none that is worth it.

    Raises:
        StoreError: it is there and cannot be opened.
    """
    try:
        begun = _Begun.model_validate_json((directory / BUILDING).read_bytes())
    except (OSError, ValidationError):
        return None
    if begun.source != source or not 0 <= now - begun.began <= OLDEST_SECONDS:
        return None
    if not (directory / begun.generation / "data.mdb").is_file():
        return None
    with suppress(HomeUnusable):
        if current_generation(directory).name == begun.generation:  # killed as it was finishing
            return None
    return StoreBuild(directory, begun.generation)
