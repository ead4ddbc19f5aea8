"""Who issues and who answers: the part of a status store that hardly ever changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import orjson

from engine.algorithms import SignatureAlgorithm
from engine.status.answer_layout import AnswerLayout
from engine.x509.ocsp_response import IssuerNames


@dataclass(frozen=True, slots=True)
class KnownIssuer:
    """A CA key that the store has certificates of."""

    index: int
    key_identifier: bytes
    names: IssuerNames
    responder: bytes
    """The certificate, DER, of the responder that signs for it now."""


class Parties(NamedTuple):
    """All issuers and responders, decoded."""

    issuers: tuple[KnownIssuer, ...]
    layouts: dict[int, AnswerLayout]
    """By responder: the row in authority_certificate."""


class ResponderCertificate(NamedTuple):
    """An OCSP responder's certificate, for the CA key that issued it."""

    number: int
    """Its row in authority_certificate: how stored answers name it."""
    issuer: int
    certificate: bytes
    current: bool
    """Whether it signs now; the others are kept while answers need them."""


def parties_octets(
    issuers: list[tuple[bytes, bytes]],
    responders: list[ResponderCertificate],
    algorithm: SignatureAlgorithm,
) -> bytes:
    """Encode who issues and who answers.

    Args:
        issuers: key identifier and CA certificate (DER) of each CA key, in the order of their indices.
        responders: the responder certificates.
        algorithm: with what responders sign.
    """
    return orjson.dumps(
        {
            "algorithm": algorithm.value,
            "issuers": [[identifier.hex(), certificate.hex()] for identifier, certificate in issuers],
            "responders": [
                [one.number, one.issuer, one.certificate.hex(), one.current] for one in responders
            ],
        }
    )


class NamedParties(NamedTuple):
    """Issuers and responders as they are named, before anything is made of their certificates."""

    algorithm: SignatureAlgorithm
    issuers: list[tuple[bytes, bytes]]
    responders: list[ResponderCertificate]

    def issuer_names(self) -> list[IssuerNames]:
        """Return what CertIDs say of the issuers."""
        return [IssuerNames.from_certificate(certificate) for _, certificate in self.issuers]

    def layouts(self) -> dict[int, AnswerLayout]:
        """Return the layouts of the answers, by responder."""
        names = self.issuer_names()
        return {
            one.number: layout_of(names[one.issuer], one.certificate, self.algorithm)
            for one in self.responders
        }


def named_parties(octets: bytes) -> NamedParties:
    """Decode `parties_octets`, as far as it names certificates.

    Raises:
        ValueError, KeyError, TypeError: the octets are something else.
    """
    document = orjson.loads(octets)
    return NamedParties(
        SignatureAlgorithm(document["algorithm"]),
        [
            (bytes.fromhex(identifier), bytes.fromhex(certificate))
            for identifier, certificate in document["issuers"]
        ],
        [
            ResponderCertificate(number, issuer, bytes.fromhex(certificate), current)
            for number, issuer, certificate, current in document["responders"]
        ],
    )


def parties_from(octets: bytes) -> Parties:
    """Decode `parties_octets`."""
    if not octets:
        return Parties((), {})
    named = named_parties(octets)
    current = {one.issuer: one.certificate for one in named.responders if one.current}
    issuers = tuple(
        KnownIssuer(index, identifier, names, current.get(index, b""))
        for index, ((identifier, _), names) in enumerate(
            zip(named.issuers, named.issuer_names(), strict=True)
        )
    )
    return Parties(issuers, named.layouts())


def layout_of(issuer: IssuerNames, responder: bytes, algorithm: SignatureAlgorithm) -> AnswerLayout:
    """Return the layout of the answers that a responder signs for an issuer."""
    key_hash, _ = IssuerNames(IssuerNames.from_certificate(responder).key, b"").hashes("sha1")
    return AnswerLayout(issuer, key_hash, algorithm, [responder])
