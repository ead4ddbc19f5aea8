"""The published CRL files: where a URI's file lies, how it appears, and what HTTP must know of it.

A file lies under the directory at the path of its URI, so that different URIs have different files and whoever serves
the path of a request finds it. The name is that of the path with its percent-escapes decoded, as web servers do.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from engine.errors import ConfigurationInvalid
from engine.x509.der_reader import NotDer
from engine.x509.revocation_list import read_update_times

_BEGINNING = 4_096
"""Octets in which everything before the entries lies. A guess: a name of a few hundred octets and 40 more."""

_END = 1_024
"""Octets in which the signature value lies: 512 for RSA-4096, the largest key in use (CPS 6.1.5)."""

_ETAG_DIGITS = 32
"""Of the tag: 128 bits. A guess: two lists must not meet by chance."""

Identity = tuple[int, int, int]
"""Of a file as long as nobody replaces it: time of change in nanoseconds, size, inode."""


@dataclass(frozen=True, slots=True)
class PublishedCrl:
    """A published CRL as HTTP serves it.

    Attributes:
        path: the file.
        uri_path: the path of its URI, decoded, with the slash at its beginning.
        etag: entity tag without quotes: the same on every host that has this very list.
        this_update: thisUpdate, which is Last-Modified; seconds since the epoch.
        next_update: nextUpdate, which is Expires; seconds since the epoch.
        size: octets.
        identity: of the file that all this was read from.
    """

    path: Path
    uri_path: str
    etag: bytes
    this_update: int
    next_update: int
    size: int
    identity: Identity

    def open(self) -> BinaryIO | None:
        """Open this very list; None when another has taken its place meanwhile: ask `published` again."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return None
        if _identity(os.fstat(file.fileno())) == self.identity:
            return file
        file.close()
        return None


_known: dict[Path, PublishedCrl] = {}
"""What was read before, by file; as many as there are scopes."""


def published(directory: Path, uri_path: str) -> PublishedCrl | None:
    """Return the CRL published at a path, or None where there is none. Reads only its two ends, and those once.

    Args:
        directory: the configured directory.
        uri_path: the path of the request, decoded, with the slash at its beginning; may be anything.
    """
    path = _file_of(directory, uri_path)
    if path is None:
        return None
    try:
        status = path.stat()
        known = _known.get(path)
        if known is not None and known.identity == _identity(status):
            return known
        if not stat.S_ISREG(status.st_mode):
            return None
        with path.open("rb") as file:
            found = _read(path, uri_path, file)
    except (OSError, NotDer, ValueError):  # not there, no CRL, or a name that no file can have
        return None
    _known[path] = found
    return found


def all_published(directory: Path) -> Iterator[PublishedCrl]:
    """Yield every CRL that is published in the directory."""
    for path in sorted(directory.rglob("*")):
        found = published(directory, "/" + path.relative_to(directory).as_posix())
        if found is not None:
            yield found


def _read(path: Path, uri_path: str, file: BinaryIO) -> PublishedCrl:
    status = os.fstat(file.fileno())
    beginning = file.read(_BEGINNING)
    this_update, next_update = read_update_times(beginning, status.st_size)
    file.seek(max(0, status.st_size - _END))
    # The signature value stands for all the rest: another list has another one.
    etag = hashlib.sha256(beginning + file.read()).hexdigest()[:_ETAG_DIGITS].encode()
    return PublishedCrl(path, uri_path, etag, this_update, next_update, status.st_size, _identity(status))


def _identity(status: os.stat_result) -> Identity:
    return status.st_mtime_ns, status.st_size, status.st_ino


def uri_path_of(uri: str) -> str:
    """Return the decoded path of a URI, with the slash at its beginning.

    Raises:
        ConfigurationInvalid: no file can stand for it.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path, errors="replace")
    if (
        "\N{REPLACEMENT CHARACTER}" in path
        or parts.scheme not in ("http", "https")
        or parts.query
        or _file_of(Path(), path) is None
    ):
        raise ConfigurationInvalid(
            "no CRL file can be published at this URI",
            place="URI of a CRL",
            value=uri,
            rule="http or https, a path of plain names, no query",
        )
    return path


def file_of(directory: Path, uri: str) -> Path:
    """Return the file of a URI.

    Raises:
        ConfigurationInvalid: no file can stand for it.
    """
    return directory / uri_path_of(uri)[1:]


def _file_of(directory: Path, uri_path: str) -> Path | None:
    """The file of a path; None for one that leads out of the directory, or to the files being written in it."""
    slash, *names = uri_path.split("/")
    if slash or not names or any(not name or name.startswith(".") or "\0" in name for name in names):
        return None
    return directory.joinpath(*names)


def delta_uri_of(uri: str) -> str:
    """Return the URI of a scope's delta CRL: `-delta` before the ending of the full one's."""
    return uri.removesuffix(".crl") + "-delta" + (".crl" if uri.endswith(".crl") else "")
