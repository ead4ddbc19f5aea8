"""A certificate with those above it, as the files that programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding


@dataclass(frozen=True)
class Chain:
    """A subscriber's certificate, the CA's, and the root's: parsed, and as PEM files."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    root: x509.Certificate
    certificate_file: Path
    issuer_file: Path
    root_file: Path
    authorities_file: Path
    """The CA's and the root's certificates in one file."""


def write_chain(
    directory: Path,
    name: str,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    root: x509.Certificate,
) -> Chain:
    """Write the files of a chain; those of the authorities are shared by all chains in a directory."""
    leaf, ca, top, both = (
        directory / file for file in (f"{name}.pem", "issuer.pem", "root.pem", "authorities.pem")
    )
    leaf.write_bytes(certificate.public_bytes(Encoding.PEM))
    if not both.exists():
        ca.write_bytes(issuer.public_bytes(Encoding.PEM))
        top.write_bytes(root.public_bytes(Encoding.PEM))
        both.write_bytes(ca.read_bytes() + top.read_bytes())
    return Chain(certificate, issuer, root, leaf, ca, top, both)
