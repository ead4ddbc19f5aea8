"""Every signature in the HSM's log has its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.checker.finding import UNREADABLE, Finding
from engine.checker.journals import Journals
from engine.checker.record import Record

_DIGEST = 32
"""Octets of SHA-256."""

_SWEEP_MESSAGE = 1_200
"""Octets of a message that a sweep of the token signs: its text, filled up with points (docs/pool-sizing.md)."""


def logged_digests(log: Path) -> list[bytes]:
    """Return the digests of all successful signatures; a line that is still being written is left out.

    Raises:
        OSError: the log cannot be read.
        ValueError, IndexError: it is no such log.
    """
    made = []
    for line in log.read_bytes().split(b"\n")[:-1]:
        fields = line.split(b" ")
        if fields[0] == b"SIGN" and int(fields[6], 16) == 0:
            made.append(bytes.fromhex(fields[5].decode("ascii")))
    return made


def check_signatures(record: Record, journals: Journals, logged: list[bytes]) -> Iterator[Finding]:
    """Strike out what was announced; what is left of the log was signed without a reason."""
    left = set(logged)
    if left:
        for announced in _stored(record):
            left.discard(announced)
        left -= journals.digests
        yield from _strike_told(record, left)
    for digest in sorted(left):
        yield Finding("signature-unaccounted", "signature log", digest.hex())


def _stored(record: Record) -> Iterator[bytes]:
    """What is accounted for by a row of its own; a row that cannot be read accounts for nothing."""
    for table, column in (
        ("reservation", "tbs"),
        ("authority_certificate", "tbs"),
        ("audit_checkpoint", "statement"),
    ):
        for (signed,) in record.rows(f"SELECT {column} FROM {table}"):  # noqa: S608  # the names above
            if isinstance(signed, str | bytes):
                octets = signed.encode("utf-8", "surrogateescape") if isinstance(signed, str) else signed
                yield hashlib.sha256(octets).digest()
    for (digest,) in record.rows("SELECT tbs_digest FROM crl_issue"):
        yield digest
    for (digests,) in record.rows("SELECT digests FROM ocsp_batch"):
        if isinstance(digests, bytes):
            yield from (digests[start : start + _DIGEST] for start in range(0, len(digests), _DIGEST))


def _strike_told(record: Record, left: set[bytes]) -> Iterator[Finding]:
    """Strike out what audit records announce; those of sweeps, which announce very many, only where any is left."""
    events = {
        "operations.signature-intended": _operation,
        "token.measured": _measurement,
        "token.swept": _sweep,
    }
    for sequence, event, body in record.rows(
        "SELECT sequence, event, body FROM audit_record"
        " WHERE event IN ('operations.signature-intended', 'token.measured', 'token.swept') ORDER BY event"
    ):
        try:
            if left:
                _strike(events[event], json.loads(body), left)
        except UNREADABLE as error:
            yield Finding("audit-body", f"audit_record {sequence}", f"cannot be read: {error}")


def _strike(
    announced: Callable[[dict[str, Any]], Iterator[bytes]], body: dict[str, Any], left: set[bytes]
) -> None:
    for digest in announced(body):
        left.discard(digest)


def _operation(body: dict[str, Any]) -> Iterator[bytes]:
    yield bytes.fromhex(body["message_sha256"])


def _measurement(body: dict[str, Any]) -> Iterator[bytes]:
    for number in range(body["signatures"]):
        yield hashlib.sha256(f"sealmint token measurement {body['nonce']} {number}".encode()).digest()


def _sweep(body: dict[str, Any]) -> Iterator[bytes]:
    """The messages of a slice: those of each process from 0 up to what was announced."""
    for process in range(body.get("workers", 0)):
        text = f"sealmint token sweep {body['nonce']} slice {body['slice']} process {process} message"
        for number in range(body["announced_each"]):
            yield hashlib.sha256(f"{text} {number} ".encode().ljust(_SWEEP_MESSAGE, b".")).digest()
