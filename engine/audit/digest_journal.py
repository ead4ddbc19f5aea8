"""Signatures made on demand: a digest in a file before each one, an audit record over the file now and then.

A live OCSP answer, or a piece of the feed, cannot wait for a commit, and a record for each would fill the audit log. So
the digest of what is about to be signed is appended to a journal, and at intervals a record says how many there are and
what their digest is, which ties the file to the chain (decision 0025). A journal that a killed process left is recorded
by the next one.

    audit/live-ocsp/20260301T021500Z-4711.digests     one line for each message: its hash in lower-case hexadecimal,
                                                      made with the hash of the signature algorithm
    record ocsp.live-signed                           {"file", "offset", "octets", "count", "sha256"}: the lines in
                                                      that part of the file, and SHA-256 over the part

A journal that is recorded to its end may not be written any more: mode 0400.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path

import orjson
import structlog
import trio
from sqlalchemy import select

from engine.audit.events import Event
from engine.audit.journal_file import JournalFile, left_over_lines, seal_left_over
from engine.audit.log import append_record
from engine.clock import Clock
from engine.errors import SealmintError, StoreError
from engine.fault_points import fault_point
from engine.store.database import Store
from engine.store.schema import audit_record

SUFFIX = ".digests"
INTERVAL_SECONDS = 60.0
"""Between two audit records. A guess: what a record would cost for each answer is spread over a minute of them."""

RETRY_SECONDS = 1.0
"""Until a record that failed is tried again; nothing is signed meanwhile."""

_LONGEST_OCTETS = 64 << 20
"""Of a journal, after which the next one is begun. A guess: a million signatures."""


@dataclass(frozen=True, slots=True)
class JournalKind:
    """What is signed.

    Attributes:
        directory: of the journals, under the home's `audit`.
        event: of the records over them.
        name: what the signatures are, for errors.
    """

    directory: str
    event: Event
    name: str


LIVE_OCSP = JournalKind("live-ocsp", Event.OCSP_LIVE_SIGNED, "live signatures")
FEED = JournalKind("feed", Event.FEED_SIGNED, "signatures of the feed")
KEY_TEST = JournalKind("key-test", Event.TOKEN_KEY_TESTED, "test signatures")


@dataclass(frozen=True, slots=True)
class JournalPart:
    """Lines of a journal that one record covers."""

    file: str
    offset: int
    octets: int
    count: int
    sha256: str


class DigestJournal:
    """Journals digests, and records them. One of a kind for each home at a time: the caller holds the signer's lock.

    Args:
        kind: what is signed.
        checkpoints: the home's `audit` directory.
        store: the record.
        clock: tells the time.
        actor: who signs, for the audit log.

    Attributes:
        can_sign: False from when a record could not be written until it could: nothing may be signed (CPS 4.5.6).
    """

    def __init__(self, kind: JournalKind, checkpoints: Path, store: Store, clock: Clock, actor: str) -> None:
        self.can_sign = True
        self._kind = kind
        self._directory = checkpoints / kind.directory
        self._directory.mkdir(exist_ok=True, mode=0o700)
        self._store = store
        self._clock = clock
        self._actor = actor
        self._file: JournalFile | None = None
        self._pending: JournalPart | None = None
        self._recording: JournalFile | None = None  # that the pending part lies in
        self._begin_part(0)

    def _begin_part(self, offset: int) -> None:
        self._offset = offset
        self._count = 0
        self._hash = hashlib.sha256()

    def add(self, digests: Sequence[bytes]) -> None:
        """Write down what is about to be signed.

        Args:
            digests: the hash of each message, by the hash of the signature algorithm.

        Raises:
            StoreError: it was not written down: do not sign.
        """
        if not self.can_sign:
            message = f"{self._kind.name} cannot be recorded at present"
            raise StoreError(message, place=str(self._directory), rule="CPS 4.5.6")
        lines = b"".join(digest.hex().encode("ascii") + b"\n" for digest in digests)
        try:
            self._opened().append(lines)
        except OSError as error:
            raise self._failed("written", error) from error
        fault_point("journal.written")
        self._count += len(digests)
        self._hash.update(lines)

    def _opened(self) -> JournalFile:
        if self._file is None:
            began = self._clock.now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
            self._file = JournalFile(self._directory / f"{began}-{os.getpid()}{SUFFIX}")
            self._begin_part(0)
        return self._file

    def _failed(self, what: str, error: OSError) -> StoreError:
        return StoreError(
            f"a journal of {self._kind.name} cannot be {what}",
            place=str(self._directory if error.filename is None else error.filename),
            value=error.strerror,
        )

    async def record(self) -> None:
        """Append an audit record over what was added since the last one; without any, nothing.

        Raises:
            SealmintError: it could not be written. `can_sign` is False until a later call succeeds.
        """
        if self._pending is None and self._count:
            self._pend()
        if self._pending is None or self._recording is None:
            return
        try:
            await trio.to_thread.run_sync(self._write_record, self._pending, self._recording)
        except SealmintError:
            self.can_sign = False
            raise
        self._pending = None
        self.can_sign = True
        if self._recording is not self._file:
            self._recording.seal()

    def _pend(self) -> None:
        """What was added until now is to be recorded."""
        file = self._opened()
        octets = file.end - self._offset
        self._pending = JournalPart(file.path.name, self._offset, octets, self._count, self._hash.hexdigest())
        self._begin_part(file.end)
        self._recording = file
        if file.end >= _LONGEST_OCTETS:
            self._file = None  # what comes from now on goes into the next one

    async def close(self) -> None:
        """Record what is left, and end the journal.

        Raises:
            SealmintError: a record could not be written; the next process does it.
        """
        while self._pending is not None or self._count:
            await self.record()
        if self._file is not None:
            self._file.seal()
            self._file = None

    def _write_record(self, part: JournalPart, file: JournalFile) -> None:
        try:
            file.sync(part.offset)  # what the record says is there is there after a power cut too
        except OSError as error:
            raise self._failed("synced", error) from error
        if (
            self.can_sign or self._recorded_until(part.file) == part.offset
        ):  # a commit that failed may have been kept
            self._append_record(part)

    def _append_record(self, part: JournalPart) -> None:
        with self._store.write() as connection:
            append_record(connection, self._clock, self._kind.event, actor=self._actor, body=asdict(part))
        fault_point("journal.recorded")

    def record_left_over(self) -> list[str]:
        """Record what killed processes journalled; return the names of their journals. Blocks.

        Raises:
            SealmintError: a record could not be written, or a journal not read.
        """
        in_use = None if self._file is None else self._file.path
        left = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            try:
                if path == in_use or not stat.S_IMODE(path.stat().st_mode) & stat.S_IWUSR:
                    continue
                self._record_rest(path)
                seal_left_over(path)
            except OSError as error:
                raise self._failed("taken over", error) from error
            left.append(path.name)
        return left

    def _record_rest(self, path: Path) -> None:
        offset = self._recorded_until(path.name)
        lines = left_over_lines(path, offset)
        if lines:
            count, sha256 = lines.count(b"\n"), hashlib.sha256(lines).hexdigest()
            self._append_record(JournalPart(path.name, offset, len(lines), count, sha256))

    def _recorded_until(self, name: str) -> int:
        with self._store.read() as connection:
            bodies = connection.execute(
                select(audit_record.c.body).where(
                    audit_record.c.event == self._kind.event.record_name,
                    audit_record.c.body.contains(f'"file":"{name}"', autoescape=True),
                )
            ).scalars()
            parts = [orjson.loads(body) for body in bodies]
        return max((part["offset"] + part["octets"] for part in parts), default=0)


async def keep_recording(journal: DigestJournal, log: structlog.typing.FilteringBoundLogger) -> None:
    """Have an audit record written every interval; where that fails nothing is signed until it succeeds.

    Runs until cancelled; what is not recorded then, `DigestJournal.close` records.
    """
    while True:
        await trio.sleep(INTERVAL_SECONDS if journal.can_sign else RETRY_SECONDS)
        could_sign = journal.can_sign
        try:
            await journal.record()
        except SealmintError as error:
            if could_sign:
                log.error("audit-failed", error=type(error).__name__, message=str(error))
        else:
            if not could_sign:
                log.info("audit-works-again")
