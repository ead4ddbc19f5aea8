"""Whom the load asks about, and what is right: one file, made where the record is and read where the load is.

The first line says what it is, the second is JSON with all that is small; then 22 octets for each certificate. The
processes of a load map it, so a million certificates cost no memory of their own.
"""

from __future__ import annotations

import mmap
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import orjson

from engine.errors import ConfigurationInvalid, InputRejected
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import IssuerNames

_FIRST_LINE = b"sealmint load targets 1\n"
_RECORD = Struct(">16sBBI")
_NO_REASON = 0xFF


class Target(NamedTuple):
    """A certificate, and what the record said of it."""

    serial: bytes
    state: CertificateState
    since: int
    """revocationDate, seconds since the epoch; 0 while good."""
    reason: int | None
    """CRLReason; None while good, and for `unspecified`, which answers leave out (RFC 5280 section 5.3.1)."""


class TargetsHead(NamedTuple):
    """What is the same for all of them."""

    read_at: int
    """When the record was read, seconds since the epoch."""
    ca: bytes
    """The CA certificate, DER."""
    crl_paths: list[str]
    """Of the CRLs that the host publishes, as in their URIs."""
    searches: list[str]
    """Query strings for the repository: names, numbers and serials that are in the record."""


class Targets:
    """A file of targets, mapped.

    Args:
        path: the file.

    Raises:
        InputRejected: it cannot be read, is no such file, or has no certificate.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                if file.readline() != _FIRST_LINE:
                    raise InputRejected("this is no file of targets", place=str(path), rule=_MADE_BY)
                self.head = _head_of(file.readline(), path)
                self._start = file.tell()
                self._octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputRejected(
                "the targets cannot be read", place=str(path), value=error.strerror
            ) from error
        self.issuer = IssuerNames.from_certificate(self.head.ca)
        if not len(self):
            raise InputRejected("there is no certificate among the targets", place=str(path), rule=_MADE_BY)

    def __len__(self) -> int:
        return (len(self._octets) - self._start) // _RECORD.size

    def __getitem__(self, index: int) -> Target:
        serial, state, reason, since = _RECORD.unpack_from(self._octets, self._start + index * _RECORD.size)
        return Target(serial, CertificateState(state), since, None if reason == _NO_REASON else reason)


_MADE_BY = "made on the CA host by: sealmint load SCENARIO --home H --write-targets FILE"


def _head_of(line: bytes, path: Path) -> TargetsHead:
    try:
        document = orjson.loads(line)
        return TargetsHead(
            document["read_at"], b64decode(document["ca"]), document["crl_paths"], document["searches"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputRejected("the file of targets is damaged", place=str(path), value=str(error)) from error


def write_targets(path: Path, head: TargetsHead, targets: Iterable[Target]) -> int:
    """Write a file of targets; return how many there are.

    Raises:
        ConfigurationInvalid: it cannot be written.
    """
    document = head._asdict() | {"ca": b64encode(head.ca).decode()}
    count = 0
    try:
        with path.open("wb") as file:
            file.write(_FIRST_LINE + orjson.dumps(document) + b"\n")
            for serial, state, since, reason in targets:
                file.write(_RECORD.pack(serial, state, _NO_REASON if reason is None else reason, since))
                count += 1
    except OSError as error:
        raise ConfigurationInvalid(
            "the targets cannot be written", place=str(path), value=error.strerror
        ) from error
    return count
