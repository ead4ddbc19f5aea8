"""Which lists the record calls published, and whether their files are in their places.

A list is recorded as published before its file appears (docs/decisions/0044): what leaves has its audit record. A
process killed in between leaves the whole file under its partial name; whoever holds the scope's lease next renames it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from engine.authority.context import AuthorityContext
from engine.config import CrlSection
from engine.errors import ConfigurationInvalid, HomeUnusable
from engine.status.crl_files import delta_uri_of, file_of
from engine.status.crl_scopes import CrlIssuer, CrlScope, describe_scope
from engine.status.crl_spool import files_in, partials_of, put_in_place
from engine.store.crls import Issue, last_delta, last_full, scope_by_id
from engine.store.leases import Lease, check_lease


@dataclass(frozen=True, slots=True)
class RecordedList:
    """A list that is recorded as published.

    Attributes:
        sha256: of its file; None where an older program did not record it.
        paths: where the file belongs; the first is filled last.
    """

    sha256: bytes | None
    paths: tuple[Path, ...]

    @property
    def is_in_place(self) -> bool:
        """Whether that very file lies there. Blocks."""
        return self.sha256 == _sha256(self.paths[0])

    def left_over(self) -> Path | None:
        """Return the file under the partial name at which a killed process left it. Blocks."""
        partials = partials_of(self.paths[0])
        return next((path for path in partials if _sha256(path) == self.sha256), None)


class CrlPlacement:
    """Looks after what was recorded as published.

    Args:
        context: the record, and where files lie.
        issuers: the CA keys at hand, by their key identifiers.
    """

    def __init__(self, context: AuthorityContext, issuers: Mapping[bytes, CrlIssuer]) -> None:
        self._context = context
        self._issuers = issuers
        self._section = context.configuration.crl

    def is_in_place(self, scope_id: int) -> bool:
        """Return whether relying parties find what was published last of a scope; if not, `finish`. Blocks.

        Raises:
            StoreError: the record could not be read.
        """
        try:
            with files_in(Path(self._section.directory)):
                return all(one.is_in_place for one in self._recorded(scope_id))
        except (ConfigurationInvalid, HomeUnusable):  # which `finish` tells
            return False

    def finish(self, scope_id: int, lease: Lease) -> bool:
        """Put in place what a killed process recorded as published. Blocks.

        Args:
            scope_id: the scope.
            lease: of the scope, held.

        Returns:
            False where a file is lost: it takes a new CRL.

        Raises:
            LeaseLost: another host publishes it now.
            HomeUnusable: a file cannot be read or renamed.
            ConfigurationInvalid: as `describe_scope`.
            StoreError: the record is away.
        """
        with files_in(Path(self._section.directory)):
            missing = [(one, one.left_over()) for one in self._recorded(scope_id) if not one.is_in_place]
            found = [(one, partial) for one, partial in missing if partial is not None]
            if found:
                with self._context.store.write() as connection:
                    check_lease(connection, lease)
                    for one, partial in found:
                        put_in_place(partial, one.paths, lease.fence)
        return len(found) == len(missing)

    def _recorded(self, scope_id: int) -> list[RecordedList]:
        with self._context.store.read() as connection:
            scope = describe_scope(connection, scope_by_id(connection, scope_id), self._issuers)
            return _recorded_lists(connection, scope, self._section)


def _recorded_lists(connection: Connection, scope: CrlScope, section: CrlSection) -> list[RecordedList]:
    """The lists of a scope that relying parties should find now: the last full CRL, and its last delta."""
    directory = Path(section.directory)
    full = last_full(connection, scope.row.id)
    if full is None:
        return []
    lists = [_recorded(full, directory, scope.uris)]
    delta = last_delta(connection, scope.row.id) if section.delta else None
    if delta is not None and delta.number >= full.number:
        lists.append(_recorded(delta, directory, tuple(map(delta_uri_of, scope.uris))))
    return lists


def _recorded(issue: Issue, directory: Path, uris: tuple[str, ...]) -> RecordedList:
    return RecordedList(issue.file_sha256, tuple(file_of(directory, uri) for uri in uris))


def _sha256(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return None
