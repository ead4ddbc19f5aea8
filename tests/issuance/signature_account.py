"""Accounting for every signature that a home's HSM ever made.

Reads three things that know nothing of each other: the HSM's log, the database, and what the database says was
announced (live OCSP signatures and those of the feed in journals beside it). Written apart from the engine, so that
both must agree.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from engine.issuance.measurement import measurement_messages

_JOURNALS = (
    ("live-ocsp", "ocsp.live-signed", "live OCSP"),
    ("feed", "feed.signed", "feed"),
    ("key-test", "token.key-tested", "key test"),
)
"""Directory under the home's audit, event of the records over it, and what the signatures are."""


@dataclass(frozen=True)
class Account:
    """What the HSM signed, by what each signature was for.

    Attributes:
        certificates: how often each reserved TBS of a run was signed, by its digest.
        others: signatures for the authority's own certificates, announced operations signatures, audit
            checkpoints, measurements, CRLs, OCSP answers signed ahead and live, pieces of the feed.
        unaccounted: digests that nothing announced or reserved. Must be empty.
    """

    certificates: Counter[str]
    others: Counter[str]
    unaccounted: list[str]

    @property
    def signed_again(self) -> int:
        """How many signatures were made over a TBS that had been signed before."""
        return self.certificates.total() - len(self.certificates)


def account_of(home: Path) -> Account:
    """Sort every line of the HSM's log."""
    with closing(sqlite3.connect(home / "store.sqlite", timeout=60)) as connection:
        reserved = {_digest(tbs) for (tbs,) in connection.execute("SELECT tbs FROM reservation")}
        others = dict(_announced(connection))
        for directory, event, name in _JOURNALS:
            others |= _journalled(home / "audit" / directory, event, name, connection)
    account = Account(Counter(), Counter(), [])
    for digest in _logged(home / "hsm" / "log"):
        if digest in reserved:
            account.certificates[digest] += 1
        elif digest in others:
            account.others[others[digest]] += 1
        else:
            account.unaccounted.append(digest)
    return account


def assert_accounted_for(home: Path, *, issued: int) -> Account:
    """Check that every signature has its reason, and that no item, serial or key was certified twice.

    Args:
        home: the home.
        issued: how many certificates there must be.
    """
    account = account_of(home)
    assert not account.unaccounted
    with closing(sqlite3.connect(home / "store.sqlite", timeout=60)) as connection:
        rows = connection.execute(
            "SELECT reservation.serial, reservation.tbs, signature.signature, item.public_key FROM signature"
            " JOIN reservation USING (item_id) JOIN item ON item.id = signature.item_id"
        ).fetchall()
        reservations, serials = connection.execute(
            "SELECT (SELECT count(*) FROM reservation), (SELECT count(*) FROM serial_claim)"
        ).fetchone()
        claims = connection.execute("SELECT count(*) FROM signature").fetchone()[0]
    assert len(rows) == claims == issued
    assert reservations == serials, "a reserved serial was given up"
    assert len({serial for serial, *_ in rows}) == issued
    assert len({key for *_, key in rows}) == issued
    assert {_digest(tbs) for _, tbs, *_ in rows} <= account.certificates.keys()
    for serial, tbs, signature, key in rows:
        _check_certificate(home, serial, tbs, signature, key)
    return account


def _check_certificate(home: Path, serial: bytes, tbs: bytes, signature: bytes, key: bytes) -> None:
    """The stored halves are a certificate of this serial and key, signed by the CA."""
    authority = x509.load_der_x509_certificate((home / "certificates" / "ca.der").read_bytes()).public_key()
    assert isinstance(authority, rsa.RSAPublicKey)
    authority.verify(signature, tbs, padding.PKCS1v15(), SHA256())
    assert serial in tbs
    assert key in tbs
    spki = load_der_public_key(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == key


def _announced(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for (tbs,) in connection.execute("SELECT tbs FROM authority_certificate"):
        yield _digest(tbs), "authority certificate"
    for (statement,) in connection.execute("SELECT statement FROM audit_checkpoint"):
        yield _digest(statement.encode()), "checkpoint"
    for event, body in connection.execute("SELECT event, body FROM audit_record"):
        announced = json.loads(body)
        if event == "operations.signature-intended":
            yield announced["message_sha256"], "operations"
        elif event == "token.measured":
            for message in measurement_messages(announced["nonce"], announced["signatures"]):
                yield _digest(message), "measurement"
    for (digest,) in connection.execute("SELECT tbs_digest FROM crl_issue"):
        yield digest.hex(), "CRL"
    for (digests,) in connection.execute("SELECT digests FROM ocsp_batch"):
        for start in range(0, len(digests), 32):
            yield digests[start : start + 32].hex(), "OCSP answer"


def _journalled(
    directory: Path, event: str, name: str, connection: sqlite3.Connection
) -> Iterator[tuple[str, str]]:
    """The journals of a directory, each held against its audit records; the rest of one is not recorded yet."""
    journals = {path.name: path.read_bytes() for path in directory.glob("*.digests")}
    ends = dict.fromkeys(journals, 0)
    statement = "SELECT body FROM audit_record WHERE event = ? ORDER BY sequence"
    for (body,) in connection.execute(statement, (event,)):
        part = json.loads(body)
        octets = journals[part["file"]][part["offset"] :][: part["octets"]]
        assert part["offset"] == ends[part["file"]], "a part of a journal is recorded twice, or not at all"
        assert hashlib.sha256(octets).hexdigest() == part["sha256"]
        assert octets.count(b"\n") == part["count"]
        ends[part["file"]] += part["octets"]
    for file, octets in journals.items():
        position = 0
        for line in octets.splitlines(keepends=True):
            digest = line.decode("ascii").rstrip("\n")
            yield digest, name if position < ends[file] else f"{name}, not yet recorded"
            position += len(line)


def _logged(log: Path) -> Iterator[str]:
    """The digest of every signature that was made, be it given to the caller or not."""
    for line in log.read_text("ascii").splitlines():
        kind, *fields = line.split(" ")
        if kind == "SIGN":
            _time, _process, _session, _mechanism, digest, result, _end = fields
            if int(result, 16) == 0:  # what the real token said, also where the caller was told otherwise
                yield digest


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
