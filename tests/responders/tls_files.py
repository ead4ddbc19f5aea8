"""Certificates for the way between responders and the live signer: a CA of its own, one certificate for each end."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.judges.toy_authority import NOW


@dataclass(frozen=True)
class TlsFiles:
    """What one end is configured with."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "live_tls_certificate": str(self.certificate),
            "live_tls_key": str(self.key),
            "live_tls_ca": str(self.authority),
        }


def make_ends(directory: Path) -> tuple[TlsFiles, TlsFiles]:
    """Make a CA in a directory, and certificates of the live signer (at 127.0.0.1) and of a responder."""
    directory.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("live signing", key, None)
    authority_file = directory / "ca.pem"
    authority_file.write_bytes(authority.public_bytes(Encoding.PEM))
    ends = []
    for name in ("signer", "responder"):
        own_key = ec.generate_private_key(ec.SECP256R1())
        files = TlsFiles(directory / f"{name}.pem", directory / f"{name}.key", authority_file)
        files.certificate.write_bytes(
            _certificate(name, own_key, (authority, key)).public_bytes(Encoding.PEM)
        )
        files.key.write_bytes(own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        ends.append(files)
    return ends[0], ends[1]


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer[1] if issuer else key
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(address, critical=False)
        .sign(signer, SHA256())
    )
