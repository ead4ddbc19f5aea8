"""The certification authority as a home holds it: its certificates, and the proof that the token has its key."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.config import Configuration
from engine.errors import HomeUnusable, KeyMismatch
from engine.home import Home
from engine.pkcs11.keys import KeyReference, public_key_info
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.x509.issuer import Issuer

ROLES = ("root", "ca", "ocsp", "audit", "operations")


@dataclass(frozen=True, slots=True)
class RoleCertificate:
    """One of the authority's certificates with the label of its key in the token."""

    role: str
    certificate: bytes
    public_key: bytes
    key_identifier: bytes
    key: KeyReference


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA and its servants, each with a key of its own (CPS 6.1.9)."""

    issuer: Issuer
    ca: RoleCertificate
    root: RoleCertificate
    ocsp: RoleCertificate
    audit: RoleCertificate
    operations: RoleCertificate

    @property
    def chain(self) -> list[bytes]:
        """The CA certificate and the root's, DER."""
        return [self.ca.certificate, self.root.certificate]


def load_authority(home: Home, configuration: Configuration) -> Authority:
    """Read the authority's certificates from the home.

    Raises:
        HomeUnusable: a certificate is missing (`sealmint init` was not finished), or is none.
    """
    keys = configuration.keys
    ca = _role(home, "ca", keys.ca)
    return Authority(
        issuer=Issuer.from_certificate(ca.certificate, configuration.x509.signature_algorithm),
        ca=ca,
        root=_role(home, "root", keys.development_root),
        ocsp=_role(home, "ocsp", keys.ocsp),
        audit=_role(home, "audit", keys.audit),
        operations=_role(home, "operations", keys.operations),
    )


def certificate_of(home: Home, role: str) -> bytes:
    """Return the certificate of a role, DER, as the home has it; a public host's home has those it believes.

    Raises:
        HomeUnusable: it is missing.
    """
    path = home.certificates / f"{role}.der"
    try:
        return path.read_bytes()
    except OSError as error:
        raise HomeUnusable(
            "a certificate of the authority is missing; finish with: sealmint init, or sealmint feed join",
            place=str(path),
            value=error.strerror,
        ) from error


def _role(home: Home, role: str, label: str) -> RoleCertificate:
    path = home.certificates / f"{role}.der"
    certificate = certificate_of(home, role)
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        identifier = parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (ValueError, x509.ExtensionNotFound) as error:
        raise HomeUnusable(
            "this is no certificate of the authority", place=str(path), value=str(error)
        ) from error
    return RoleCertificate(
        role=role,
        certificate=certificate,
        public_key=parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key_identifier=identifier,
        key=KeyReference(label),
    )


def prove_key(token: Token, pin: Pin, role: RoleCertificate) -> None:
    """Prove that the token's key is the one that the certificate names, without making a signature.

    Raises:
        KeyMismatch: the token has no such key, or another one.
    """
    found = public_key_info(token, pin, role.key)
    if found != role.public_key:
        raise KeyMismatch(
            f"the token's key is not the one in the {role.role} certificate",
            place=f"token {token.label}, key {role.key.label}",
            rule="their SubjectPublicKeyInfo must be equal",
        )
