"""CRLS and CRL: the lists that are published on the CA host, and their octets.

A list is named by the digest of its file. A file that another takes the place of while a reader fetches it piece by
piece is not there any more under its digest, so a reader never puts two lists together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cryptography import x509
from sqlalchemy import select

from engine.authority.context import AuthorityContext
from engine.errors import ConfigurationInvalid, StoreError
from engine.feed.body import Body
from engine.feed.listings import ListedCrl, listing_octets
from engine.feed.marks import mark_of
from engine.feed.piece import MOST_BODY_OCTETS
from engine.feed.refusals import DigestUnknown
from engine.status.crl_files import Identity, PublishedCrl, delta_uri_of, published, uri_path_of
from engine.status.crl_scopes import scope_uris
from engine.store.crls import all_scopes, partitions_in_use
from engine.store.schema import crl_issue
from engine.store.status_changes import last_change

_CHUNK = 1 << 20
"""Octets hashed at a time: 1 MiB. A guess."""


class _Place(NamedTuple):
    """Where a list of a scope may lie."""

    scope_id: int
    uri: str


class _KnownFile(NamedTuple):
    """What was read of a file, as long as it is that very file."""

    identity: Identity
    sha256: str
    number: int


class CrlSource:
    """Makes the bodies about CRLs. A file is hashed once.

    Args:
        context: the record, and where the files are.
    """

    def __init__(self, context: AuthorityContext) -> None:
        self._store = context.store
        self._directory = Path(context.configuration.crl.directory)
        self._known: dict[str, _KnownFile] = {}
        self._places: tuple[tuple[int, int], list[_Place]] = ((0, 0), [])

    def look(self) -> tuple[object, ...]:
        """Return something that is another as soon as the listing would be; reads no file. Blocks."""
        return tuple((place.uri, file.identity) for place, file in self._files())

    def listing(self) -> list[ListedCrl]:
        """Return the CRLs that are published, full ones and deltas. Blocks.

        Raises:
            StoreError: the record or a file could not be read.
        """
        listed = []
        for place, file in self._files():
            known = self._read(place, file)
            if known is not None:
                listed.append(
                    ListedCrl(uri=place.uri, sha256=known.sha256, octets=file.size, number=known.number)
                )
        return listed

    def crls(self) -> Body:
        """Return the listing. Blocks."""
        with self._store.read() as connection:
            sequence = last_change(connection)
            mark = mark_of(connection, sequence)
        return Body(listing_octets(self.listing()), sequence, mark)

    def crl(self, sha256: str, after: int) -> Body:
        """Return octets of a list. Blocks.

        Args:
            sha256: of its file.
            after: how many octets are there already.

        Raises:
            DigestUnknown: no such list is published, or not any more.
            StoreError: the record or the file could not be read.
        """
        with self._store.read() as connection:
            sequence = last_change(connection)
            mark = mark_of(connection, sequence)
        for place, file in self._files():
            known = self._read(place, file)
            if known is not None and known.sha256 == sha256 and after < file.size:
                octets = _octets_of(file, after)
                if octets is not None:
                    through = after + len(octets)
                    return Body(octets, sequence, mark, after, through, through >= file.size)
        raise DigestUnknown(
            "no CRL with this digest is published, or not so long a one",
            place="crl",
            value=sha256,
            rule="read the listing again",
        )

    def _files(self) -> Iterator[tuple[_Place, PublishedCrl]]:
        for place in self._all_places():
            with suppress(
                ConfigurationInvalid
            ):  # no file can stand for that URI, which the CRL publisher says
                file = published(self._directory, uri_path_of(place.uri))
                if file is not None:
                    yield place, file

    def _all_places(self) -> list[_Place]:
        """The places of all scopes; found anew when there are more scopes."""
        with self._store.read() as connection:
            scopes = all_scopes(connection)
            key = (len(scopes), scopes[-1].id if scopes else 0)
            if key != self._places[0]:
                partitions = partitions_in_use(connection)
                places = [
                    _Place(scope.id, uri)
                    for scope in scopes
                    for full in scope_uris(scope, partitions)
                    for uri in (full, delta_uri_of(full))
                ]
                self._places = key, places
        return self._places[1]

    def _read(self, place: _Place, file: PublishedCrl) -> _KnownFile | None:
        """Digest and number of a file; None when another has taken its place meanwhile."""
        known = self._known.get(place.uri)
        if known is not None and known.identity == file.identity:
            return known
        opened = _opened(file)
        if opened is None:
            return None
        with opened:
            sha256 = hashlib.sha256()
            while chunk := opened.read(_CHUNK):
                sha256.update(chunk)
            number = self._recorded_number(place.scope_id, sha256.digest())
            if number is None:
                opened.seek(0)
                number = _number_in(opened.read(), file.path)
        self._known[place.uri] = _KnownFile(file.identity, sha256.hexdigest(), number)
        return self._known[place.uri]

    def _recorded_number(self, scope_id: int, sha256: bytes) -> int | None:
        """The cRLNumber of a file; None in the moment between its renaming and the commit that records it."""
        with self._store.read() as connection:
            number: int | None = connection.execute(
                select(crl_issue.c.number)
                .where(crl_issue.c.scope_id == scope_id, crl_issue.c.file_sha256 == sha256)
                .order_by(crl_issue.c.id.desc())
                .limit(1)
            ).scalar_one_or_none()
        return number


def _opened(file: PublishedCrl) -> BinaryIO | None:
    try:
        return file.open()
    except OSError as error:
        raise _unreadable(file.path, error.strerror) from error


def _octets_of(file: PublishedCrl, after: int) -> bytes | None:
    """A stretch of a list; None when another has taken its place."""
    opened = _opened(file)
    if opened is None:
        return None
    try:
        with opened:
            opened.seek(after)
            return opened.read(MOST_BODY_OCTETS)
    except OSError as error:
        raise _unreadable(file.path, error.strerror) from error


def _number_in(octets: bytes, path: Path) -> int:
    """The cRLNumber that a list says itself (RFC 5280 section 5.2.3)."""
    try:
        extensions = x509.load_der_x509_crl(octets).extensions
        return extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (ValueError, x509.ExtensionNotFound) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str | None) -> StoreError:
    return StoreError("a published CRL cannot be read", place=str(path), value=why)
