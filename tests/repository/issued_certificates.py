"""Certificates of the toy CA for real listed companies, with the serials of the toy status."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from engine.kinds import Carrier, Kind, Rank, Usage
from engine.repository.certificate_index import PublishedCertificate, published_certificate
from engine.x509.names import SubjectFields
from tests.cli.prepared_home import SAMPLE
from tests.judges.toy_authority import Holder
from tests.responders.synthetic_status import ENCRYPTION, EXPIRED, GOOD, HELD, OTHER_GOOD, REVOKED, START
from tests.x509.specimens import OU, PROFILES, SN, C, L, O, Specimen, by_certificate_builder

ACCEPTED_AT = START - 86_400
CHAIN_STORE = "統一超商"
"""A name that many of the certificates have."""


def companies() -> Iterator[tuple[str, str]]:
    """統一編號 and name of the companies in the sample of the register."""
    with SAMPLE.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield row["Business_Accounting_NO"], row["Company_Name"]


def specimen(
    kind: Kind, name: str, number: str | None, unit: str | None = None, county: str | None = None
) -> Specimen:
    """What to issue to an entity."""
    subscriber = "20261123000042"
    names = {
        Kind.COMPANY: ((C, "TW"), (O, name), (SN, subscriber)),
        Kind.BRANCH: ((C, "TW"), (O, name), (SN, subscriber), (OU, unit or "")),
        Kind.BUSINESS: ((C, "TW"), (L, county or ""), (O, name), (SN, subscriber)),
        Kind.LIMITED_PARTNERSHIP: ((C, "TW"), (O, name)),
    }
    return Specimen(kind, SubjectFields(name, unit, county, subscriber, number, None), names[kind])


def certificate(
    ca: Holder, wanted: Specimen, serial: bytes, usage: Usage = Usage.SIGNATURE, rank: Rank = Rank.PRIMARY
) -> bytes:
    """Issue under the toy CA's key, DER."""
    profile = PROFILES.certificate(wanted.kind, usage, rank, Carrier.IC_CARD)
    like = by_certificate_builder(wanted, profile)
    builder = x509.CertificateBuilder(
        issuer_name=ca.certificate.subject,
        subject_name=like.subject,
        public_key=like.public_key(),
        serial_number=int.from_bytes(serial, "big"),
        not_valid_before=like.not_valid_before_utc,
        not_valid_after=like.not_valid_after_utc,
    )
    for extension in like.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(ca.key, SHA256()).public_bytes(Encoding.DER)


def accepted(ca: Holder) -> list[PublishedCertificate]:
    """Certificates of every standing, and enough of one name for several pages."""
    (cement, cement_name), (asia, asia_name), (other, other_name), *_ = companies()
    company = specimen(Kind.COMPANY, cement_name, cement)
    branch = specimen(Kind.BRANCH, asia_name, asia, unit="亞洲水泥股份有限公司新竹製造廠")
    wanted = [
        (GOOD, company, Usage.SIGNATURE),
        (ENCRYPTION, company, Usage.ENCRYPTION),
        (HELD, specimen(Kind.COMPANY, asia_name, asia), Usage.SIGNATURE),
        (REVOKED, branch, Usage.SIGNATURE),
        (EXPIRED, specimen(Kind.BUSINESS, "長青商行", "00001005", county="臺中市"), Usage.SIGNATURE),
        (OTHER_GOOD, specimen(Kind.COMPANY, other_name, other), Usage.ENCRYPTION),
    ]
    rows = [
        published_certificate(place, ACCEPTED_AT, certificate(ca, what, serial, usage))
        for place, (serial, what, usage) in enumerate(wanted, 1)
    ]
    like = rows[0]
    return rows + [  # the certificate itself is looked at on its own page only
        like._replace(
            item_id=100 + number,
            serial=b"\x41" * 15 + bytes((number,)),
            name=f"{CHAIN_STORE}股份有限公司" if number == 30 else f"{CHAIN_STORE}測試{number:02}",
            number="22555003",
        )
        for number in range(45)
    ]
