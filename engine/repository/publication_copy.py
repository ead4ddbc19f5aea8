"""The publications on a public host: a listing, and the content of each document by its digest.

Documents, news and notices (CPS 2.6.1, 8.1) as the feed brings them. The process that reads the feed writes; those that
answer questions only read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.errors import InputRejected, StoreError

LISTING_NAME = "publications.json"
CONTENTS_NAME = "contents"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_Seconds = Annotated[int, Field(ge=0, lt=1 << 40)]


class Publication(BaseModel):
    """A document, a piece of news, or a notice; the fields are the columns of `publication` in the record.

    Times are seconds since the epoch.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)  # a newer CA host may say more

    id: Annotated[int, Field(gt=0)]
    kind: str
    """A PublicationKind: cps, cp, privacy-policy, audit-result, news, notice."""
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    version: str | None
    significance: str | None
    """Of a change of the CPS: large, small or re-typesetting (CPS 8.1.2.1)."""
    about: int | None
    """The publication that a notice announces."""
    published_at: _Seconds
    effective_at: _Seconds | None
    comments_until: _Seconds | None
    content_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    content_size: Annotated[int, Field(ge=0)] | None
    media_type: str | None
    file_name: str | None
    withdrawn_at: _Seconds | None


_LISTING = TypeAdapter(tuple[Publication, ...])


class PublicationCopy:
    """The copy in a directory.

    Args:
        directory: `[repository].directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._listing = directory / LISTING_NAME
        self._contents = directory / CONTENTS_NAME
        self._known: tuple[tuple[int, int, int], tuple[Publication, ...]] | None = None

    def write(self, publications: Sequence[Publication]) -> None:
        """Replace the listing, complete or not at all. Contents that it names should lie there already.

        Raises:
            StoreError: it cannot be written; the old one stays.
        """
        octets = orjson.dumps(
            [one.model_dump(mode="json") for one in publications],
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )
        partial = self._listing.with_name(f".{LISTING_NAME}.partial")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._listing)
        except OSError as error:
            raise StoreError(
                "the listing of publications cannot be written",
                place=str(self._listing),
                value=error.strerror,
            ) from error

    def read(self) -> tuple[Publication, ...]:
        """Return all publications, withdrawn ones too; none where nothing came over the feed yet.

        The file is read again when it has changed.

        Raises:
            StoreError: it is damaged, or cannot be read.
        """
        try:
            with self._listing.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = status.st_mtime_ns, status.st_size, status.st_ino
                known = self._known
                if known is None or known[0] != identity:
                    known = self._known = identity, _LISTING.validate_json(file.read())
                return known[1]
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            raise StoreError(
                "the listing of publications cannot be read", place=str(self._listing), value=str(error)
            ) from error

    def content_path(self, sha256: str) -> Path:
        """Return the file of a content, whether it is there or not.

        Args:
            sha256: its digest, hexadecimal, lower case.

        Raises:
            InputRejected: this is no digest.
        """
        if not _DIGEST.fullmatch(sha256):
            raise InputRejected("not a digest", place="content", value=sha256, rule="64 hexadecimal digits")
        return self._contents / sha256
