"""What goes back to the card centre: the certificates to write into the cards (CPS 1.3.3)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from engine.authority.detached_signature import Sign
from engine.issuance.card_exchange.signed_lines import json_line, write_signed_lines
from engine.kinds import Usage

PURPOSE = "card-certificates"
FILE_NAME = "certificates.jsonl"


class CardCertificate(NamedTuple):
    """One certificate of a card: for which of its key pairs, its serial number, and the certificate in DER."""

    card_number: str
    usage: Usage
    serial: int
    certificate: bytes


async def write_card_delivery(
    directory: Path,
    certificates: Iterable[CardCertificate],
    *,
    details: Mapping[str, JsonValue],
    certificate: bytes,
    chain: Sequence[bytes],
    now: datetime,
    sign: Sign,
) -> int:
    """Write the certificates and their manifest; return how many there are.

    `certificates` is taken in a thread of its own. `details` goes into the manifest, such as the run's number.
    The other arguments, errors and cancellation are those of `write_signed_lines`.
    """
    return await write_signed_lines(
        directory,
        FILE_NAME,
        map(_line, certificates),
        purpose=PURPOSE,
        details=details,
        certificate=certificate,
        chain=chain,
        now=now,
        sign=sign,
    )


def _line(item: CardCertificate) -> bytes:
    """Write the serial number as `openssl x509 -serial` prints it: whole octets in upper-case hexadecimal."""
    serial = item.serial.to_bytes((item.serial.bit_length() + 7) // 8).hex().upper()
    certificate = b64encode(item.certificate).decode()
    return json_line(
        {
            "card_number": item.card_number,
            "usage": item.usage.value,
            "serial": serial,
            "certificate": certificate,
        }
    )
