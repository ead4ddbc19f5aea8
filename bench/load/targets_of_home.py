"""The targets of a home: its unexpired certificates, its published CRLs, and what a searcher might type."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import Connection, text

from bench.load.targets import Target, TargetsHead, write_targets
from engine.authority.role_certificates import certificate_of
from engine.clock import SystemClock
from engine.config import Configuration, load_configuration
from engine.home import Home
from engine.status.crl_files import all_published
from engine.store.database import open_store
from engine.store.schema import CertificateState, to_microseconds

_MICROSECONDS = 1_000_000

_AT_ONCE = 10_000
"""Rows fetched at a time. A guess."""

SEARCHES = 500
"""Entities whose name, number or certificate is searched for. A guess: more than the site's database keeps warm."""

_CERTIFICATES = text("""
    SELECT reservation.serial, status.state, entry.since, entry.reason
    FROM certificate_status status
        JOIN reservation ON reservation.item_id = status.item_id
        LEFT JOIN crl_entry entry ON entry.partition_id = status.partition_id AND entry.item_id = status.item_id
    WHERE status.not_after > :now
    ORDER BY status.item_id
""")

_ENTITIES = text("""
    SELECT entity.name, entity.identifier, reservation.serial
    FROM certificate_status status
        JOIN reservation ON reservation.item_id = status.item_id
        JOIN item ON item.id = status.item_id
        JOIN card ON card.id = item.card_id
        JOIN entity ON entity.id = card.entity_id
    WHERE status.item_id IN (SELECT item_id FROM certificate_status ORDER BY item_id LIMIT :most)
    ORDER BY status.item_id
""")


def write_targets_of(home: Path, path: Path, seed: int) -> int:
    """Read a home's record and write its targets; return how many certificates there are.

    The token and the PIN are not touched, nothing is written to the home.

    Args:
        home: the home of a CA.
        path: the file to write.
        seed: of the searches.

    Raises:
        HomeUnusable: it is no home of a CA.
        StoreError: its record cannot be read.
        ConfigurationInvalid: the file cannot be written.
    """
    configuration = load_configuration(home)
    store = open_store(configuration.store.url, must_exist=True)
    try:
        with store.read() as connection:
            now = SystemClock().now()
            head = TargetsHead(
                int(now.timestamp()),
                certificate_of(Home(home), "ca"),
                _crl_paths(configuration),
                _searches(connection, random.Random(seed)),
            )
            return write_targets(path, head, _certificates(connection, to_microseconds(now)))
    finally:
        store.close()


def _certificates(connection: Connection, now: int) -> Iterator[Target]:
    rows = connection.execute(_CERTIFICATES, {"now": now})
    while part := rows.fetchmany(_AT_ONCE):
        for serial, state, since, reason in part:
            yield Target(serial, CertificateState(state), (since or 0) // _MICROSECONDS, reason or None)


def _crl_paths(configuration: Configuration) -> list[str]:
    return [crl.uri_path for crl in all_published(Path(configuration.crl.directory))]


def _searches(connection: Connection, choice: random.Random) -> list[str]:
    made = []
    for name, identifier, serial in connection.execute(_ENTITIES, {"most": SEARCHES}).fetchall():
        asked = choice.choice(
            ({"name": name}, {"name": name[:4]}, {"number": identifier}, {"serial": serial.hex()})
        )
        made.append(urlencode(asked))
    return made
