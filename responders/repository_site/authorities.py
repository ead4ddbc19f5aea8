"""The certificates of the CA and of its root (CPS 2.6.1(3)), in every form they are wanted in."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from responders.authority_documents import Document
from responders.repository_site.answers import API, Authority, AuthorityList, moment
from responders.repository_site.certificates import hexadecimal, key_text, name_text, pem
from responders.repository_site.site import RepositorySite

DIRECTORY = f"{API}/authorities"
_P7B = "application/pkcs7-mime; smime-type=certs-only"  # RFC 8551 section 3.2.2
_DER, _PEM = (
    "application/pkix-cert",
    "application/pem-certificate-chain",
)  # RFC 2585 section 4.1; RFC 8555 section 9.1


def authority_list(site: RepositorySite) -> AuthorityList:
    """Return the chain, the CA first."""
    return AuthorityList(
        authorities=[_authority("ca", site.ca), _authority("root", site.root)],
        chain_p7b=f"{DIRECTORY}/chain.p7b",
        chain_pem=f"{DIRECTORY}/chain.pem",
    )


def _authority(name: str, octets: bytes) -> Authority:
    certificate = x509.load_der_x509_certificate(octets)
    serial = certificate.serial_number
    return Authority(
        name=name,
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        serial=hexadecimal(serial.to_bytes((serial.bit_length() + 7) // 8, "big")),
        public_key=key_text(certificate),
        not_before=moment(int(certificate.not_valid_before_utc.timestamp())),
        not_after=moment(int(certificate.not_valid_after_utc.timestamp())),
        sha256=hashlib.sha256(octets).hexdigest(),
        der=f"{DIRECTORY}/{name}.cer",
        pem=f"{DIRECTORY}/{name}.pem",
    )


def authority_files(site: RepositorySite) -> dict[str, Document]:
    """Return the files by the last part of their paths."""
    certificates = [x509.load_der_x509_certificate(octets) for octets in (site.ca, site.root)]
    since, root_since = (int(one.not_valid_before_utc.timestamp()) for one in certificates)
    return {
        "ca.cer": Document(site.ca, _DER, since),
        "ca.pem": Document(pem(site.ca), _PEM, since),
        "root.cer": Document(site.root, _DER, root_since),
        "root.pem": Document(pem(site.root), _PEM, root_since),
        "chain.p7b": Document(serialize_certificates(certificates, Encoding.DER), _P7B, since),
        "chain.pem": Document(pem(site.ca) + pem(site.root), _PEM, since),
    }
