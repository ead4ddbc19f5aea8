"""The CA's certificates as documents of the repository (CPS 2.6.1), beside the caIssuers URL of certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

_ETAG_DIGITS = 32
"""128 bits. A guess: two documents must not meet by chance."""


@dataclass(frozen=True, slots=True)
class Document:
    """A small document that stays the same while the process runs.

    Attributes:
        body: its octets.
        media_type: as Content-Type says it.
        last_modified: seconds since the epoch.
    """

    body: bytes
    media_type: str
    last_modified: int

    @property
    def etag(self) -> bytes:
        """The entity tag, without quotes."""
        return hashlib.sha256(self.body).hexdigest()[:_ETAG_DIGITS].encode()


def authority_documents(ca_issuers_path: str, ca: bytes, root: bytes) -> dict[str, Document]:
    """Return the documents by path.

    Args:
        ca_issuers_path: the path of caIssuers in certificates: a certs-only CMS message with the CA certificate
            (RFC 5280 section 4.2.2.1). The others lie in the same directory.
        ca: the CA certificate, DER.
        root: the root certificate, DER.
    """
    directory = ca_issuers_path.rpartition("/")[0]
    certificates = [x509.load_der_x509_certificate(octets) for octets in (ca, root)]
    since, root_since = (int(one.not_valid_before_utc.timestamp()) for one in certificates)
    return {
        f"{directory}/ca.cer": Document(ca, "application/pkix-cert", since),
        f"{directory}/root.cer": Document(root, "application/pkix-cert", root_since),
        f"{directory}/chain.pem": Document(_pem(certificates), "application/pem-certificate-chain", since),
        ca_issuers_path: Document(
            serialize_certificates(certificates[:1], Encoding.DER),
            "application/pkcs7-mime; smime-type=certs-only",
            since,
        ),
    }


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
