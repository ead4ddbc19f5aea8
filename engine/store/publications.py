"""What the CA publishes by hand: rows that stay, and the files they carry, each kept once by its digest."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, exists, insert, select, update

from engine.store.schema import publication, publication_content


class StoredPublication(NamedTuple):
    """A row of `publication`."""

    id: int
    kind: str
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    version: str | None
    significance: str | None
    about: int | None
    """Of a notice: the document whose revision it announces. Of a document: the notice that announced it."""
    published_at: datetime
    effective_at: datetime | None
    comments_until: datetime | None
    content_sha256: bytes | None
    content_size: int | None
    media_type: str | None
    file_name: str | None
    withdrawn_at: datetime | None


class NewPublication(NamedTuple):
    """A publication about to be stored; the fields are the columns of `publication`."""

    kind: str
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    published_at: datetime
    version: str | None = None
    significance: str | None = None
    about: int | None = None
    effective_at: datetime | None = None
    comments_until: datetime | None = None
    media_type: str | None = None
    file_name: str | None = None


_COLUMNS = [publication.c[name] for name in StoredPublication._fields]


def publications(connection: Connection) -> list[StoredPublication]:
    """Return every publication, withdrawn ones too, oldest first."""
    rows = connection.execute(select(*_COLUMNS).order_by(publication.c.id))
    return [StoredPublication(*row) for row in rows]


def content(connection: Connection, sha256: bytes) -> bytes | None:
    """Return the file with this digest, or None when there is none."""
    return connection.execute(
        select(publication_content.c.content).where(publication_content.c.sha256 == sha256)
    ).scalar_one_or_none()


def append_publication(
    connection: Connection, new: NewPublication, octets: bytes | None
) -> StoredPublication:
    """Append a publication and, unless it is there already, its file.

    Args:
        connection: a writing transaction.
        new: what is published.
        octets: its file; None when it has none.

    Returns:
        The row as stored.
    """
    row = new._asdict()
    if octets is not None:
        row["content_sha256"] = _keep(connection, octets)
        row["content_size"] = len(octets)
    stored = connection.execute(insert(publication).values(**row).returning(*_COLUMNS)).one()
    return StoredPublication(*stored)


def _keep(connection: Connection, octets: bytes) -> bytes:
    digest = hashlib.sha256(octets).digest()
    if not connection.execute(select(exists().where(publication_content.c.sha256 == digest))).scalar_one():
        connection.execute(insert(publication_content).values(sha256=digest, content=octets))
    return digest


def withdraw(connection: Connection, publication_id: int, withdrawn_at: datetime) -> None:
    """Mark a publication withdrawn; its row and its file stay."""
    connection.execute(
        update(publication).where(publication.c.id == publication_id).values(withdrawn_at=withdrawn_at)
    )
