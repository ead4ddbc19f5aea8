"""Published CRL files, read before the record: a list is recorded before its file appears."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.x509 import oid

from engine.checker.standings import CERTIFICATE_HOLD

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

REASON_NUMBERS = {
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.certificate_hold: CERTIFICATE_HOLD,
    x509.ReasonFlags.remove_from_crl: 8,
    x509.ReasonFlags.privilege_withdrawn: 9,
    x509.ReasonFlags.aa_compromise: 10,
}
"""RFC 5280 section 5.3.1; `unspecified` is said by leaving the extension out."""

_EXPIRED_CERTS_ON_CRL = "2.5.29.60"
"""X.509 (2019) section 9.5.2.5: who is listed stays listed."""

Entry = tuple[int, int, int | None]
"""revocationDate in seconds since the epoch, CRLReason (0: none), invalidityDate likewise."""


@dataclass(frozen=True, slots=True)
class CrlFile:
    """A file under the CRL directory.

    Attributes:
        path: where.
        octets: what is in it.
        sha256: of that.
    """

    path: Path
    octets: bytes
    sha256: bytes


def read_files(directory: Path) -> dict[Path, CrlFile]:
    """Read every file under the directory but those that are still being written (their names begin with a point)."""
    found = {}
    for path in sorted(directory.rglob("*.crl")):
        if not path.name.startswith("."):
            with suppress(FileNotFoundError):  # a delta that nobody renews was removed just now
                octets = path.read_bytes()
                found[path] = CrlFile(path, octets, hashlib.sha256(octets).digest())
    return found


def paths_of(directory: Path, uri: str) -> tuple[Path, Path]:
    """Return where a scope's full and delta CRL lie: below the directory at the path of the URI (docs/crl-cycle.md).

    Raises:
        ValueError: the URI has no such path.
    """
    names = unquote(urlsplit(uri).path, errors="strict").split("/")[1:]
    if not names or any(not name or name.startswith(".") for name in names):
        raise ValueError(f"no file can be at {uri}")
    full = directory.joinpath(*names)
    delta = full.with_name(
        full.name.removesuffix(".crl") + "-delta" + (".crl" if full.name.endswith(".crl") else "")
    )
    return full, delta


@dataclass(frozen=True, slots=True)
class ParsedCrl:
    """What a certificate list says; times in seconds since the epoch."""

    crl: x509.CertificateRevocationList
    number: int
    base_number: int | None
    this_update: int
    next_update: int
    keeps_expired: bool
    distribution_point: str | None
    entries: dict[int, Entry]


def parse(octets: bytes) -> ParsedCrl:
    """Take a certificate list apart.

    Raises:
        ValueError: it is none, lacks a number or nextUpdate, or lists a serial twice.
    """
    crl = x509.load_der_x509_crl(octets)
    known = {extension.oid: extension.value for extension in crl.extensions}
    number = known.get(oid.ExtensionOID.CRL_NUMBER)
    base = known.get(oid.ExtensionOID.DELTA_CRL_INDICATOR)
    if not isinstance(number, x509.CRLNumber) or crl.next_update_utc is None:
        raise ValueError("no cRLNumber or no nextUpdate")
    entries: dict[int, Entry] = {}
    for revoked in crl:
        if revoked.serial_number in entries:
            raise ValueError(f"serial {revoked.serial_number:X} is listed twice")
        entries[revoked.serial_number] = _entry(revoked)
    return ParsedCrl(
        crl,
        number.crl_number,
        base.crl_number if isinstance(base, x509.DeltaCRLIndicator) else None,
        seconds(crl.last_update_utc),
        seconds(crl.next_update_utc),
        x509.ObjectIdentifier(_EXPIRED_CERTS_ON_CRL) in known,
        _distribution_point(known.get(oid.ExtensionOID.ISSUING_DISTRIBUTION_POINT)),
        entries,
    )


def _distribution_point(extension: x509.ExtensionType | None) -> str | None:
    if not isinstance(extension, x509.IssuingDistributionPoint) or not extension.full_name:
        return None
    return str(extension.full_name[0].value)


def _entry(revoked: x509.RevokedCertificate) -> Entry:
    reason, invalidity = 0, None
    for extension in revoked.extensions:
        if isinstance(extension.value, x509.CRLReason):
            reason = REASON_NUMBERS[extension.value.reason]
        elif isinstance(extension.value, x509.InvalidityDate):
            invalidity = seconds(extension.value.invalidity_date_utc)
    return seconds(revoked.revocation_date_utc), reason, invalidity


def seconds(moment: datetime) -> int:
    """Return an aware time in whole seconds since the epoch."""
    return (moment - _EPOCH) // timedelta(seconds=1)
