"""Putting a backup back, step by step: the repository and OCSP before everything else where that is asked for."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from time import perf_counter

from engine.authority.context import AuthorityContext
from engine.authority.role_certificates import load_authority
from engine.backup.chunk_store import ChunkStore
from engine.backup.restoring import Restoration
from engine.cli.opening import actor
from engine.clock import SystemClock
from engine.config import load_configuration
from engine.home import Home
from engine.status.follower import Follower
from engine.store.database import open_store


class First(Enum):
    """What comes back before everything else."""

    STATUS = "status"


@dataclass(frozen=True, slots=True)
class PutBack:
    """A backup that is back.

    Attributes:
        manifest: its name.
        rows: of the record.
        files: how many.
        cards_with_status: cards in the status store; None where it was not asked for.
        seconds: after which each step was done, in their order.
        missing: what no backup has and a CA needs to sign.
    """

    manifest: str
    rows: int
    files: int
    cards_with_status: int | None
    seconds: dict[str, float]
    missing: list[str]

    def document(self) -> dict[str, object]:
        """Return it as JSON has it; rows and files were held against the manifest."""
        return {**asdict(self), "verified": True}


def put_back(
    source: Path,
    name: str | None,
    home: Home,
    store_url: str | None,
    *,
    first: First | None,
    on_answering: Callable[[], None] = lambda: None,
) -> PutBack:
    """Put a backup back into an empty place.

    With `First.STATUS` the place is the home of a public host as soon as OCSP, CRLs and CA certificates can be served
    from it, and that of the CA when everything is there.

    Args:
        source: the directory of the backups.
        name: of the manifest; None: the newest.
        home: the place.
        store_url: where the record goes; None: where the configuration says.
        first: what comes back first.
        on_answering: called as soon as the place can answer relying parties.

    Raises:
        HomeUnusable: the place or the database is not empty.
        BackupUnusable: the backup is damaged, incomplete, or of another revision.
        AuditBroken: the audit chain was damaged when the backup was made.
    """
    began, seconds = perf_counter(), dict[str, float]()
    chunk_store = ChunkStore(source)
    name = name or chunk_store.newest()
    restoration = Restoration(chunk_store, chunk_store.manifest(name), home)
    files = restoration.first_files()
    seconds["repository"] = perf_counter() - began
    cards = None
    if first is First.STATUS:
        cards = _answer_first(restoration, home, store_url)
        seconds["status"] = perf_counter() - began
        on_answering()
    store = open_store(_url_of(restoration.configuration_text(store_url), home))
    try:
        digests = restoration.record(store)
    finally:
        store.close()
    seconds["record"] = perf_counter() - began
    files += restoration.other_files()
    restoration.configuration(store_url)
    seconds["all"] = perf_counter() - began
    return PutBack(
        manifest=str(name),
        rows=sum(digest.rows for digest in digests.values()),
        files=files + 1,  # the configuration
        cards_with_status=cards,
        seconds=seconds,
        missing=_missing(home),
    )


def _answer_first(restoration: Restoration, home: Home, store_url: str | None) -> int:
    """Build the status store out of the tables it needs, and let the place answer; return how many cards it has."""
    restoration.configuration(store_url)
    configuration, clock = load_configuration(home.path), SystemClock()
    authority = load_authority(home, configuration)
    with restoration.status() as tables:
        context = AuthorityContext(home, configuration, tables, clock, authority, actor())
        follower = Follower(context, Path(configuration.ocsp.status_store))
        cards = follower.rebuild()
        follower.close()
    restoration.answering_configuration()
    return cards


def _url_of(configuration: str, home: Home) -> str:
    section = tomllib.loads(configuration).get("store", {})
    url = str(section.get("owner_url") or section.get("url") or "sqlite:///{home}/store.sqlite")
    return url.replace("{home}", str(home.path))


def _missing(home: Home) -> list[str]:
    """What no backup has and a CA needs to sign; looked for by name only."""
    configuration = load_configuration(home.path)
    missing = [f"the token {configuration.token.label!r} with its keys, from its own wrapped copies"]
    pin_file = configuration.token.pin_file
    if pin_file != "prompt" and not Path(pin_file).exists():
        missing.append(f"the PIN: {pin_file}")
    missing.append(f"private keys of TLS connections, where there are any: {home.path / 'secrets'}")
    return missing
