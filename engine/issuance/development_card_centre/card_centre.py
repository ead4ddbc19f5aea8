"""The development card centre itself: its directory, its key, and the certificate that others pin."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from engine.clock import Clock
from engine.errors import HomeUnusable
from engine.issuance.manifest import durable_file

KEY_NAME = "card-centre.key"
CERTIFICATE_NAME = "card-centre.der"

LIFETIME = timedelta(days=3650)
"""How long its certificate lasts; long enough for a development home. A guess."""


@dataclass(frozen=True)
class CardCentre:
    """An open development card centre.

    `directory` holds its key, its certificate, the numbers it has used and its pool of primes; `certificate` is what
    others pin, DER, signed by itself; `clock` tells the time of signing.
    """

    directory: Path
    certificate: bytes
    clock: Clock
    _key: rsa.RSAPrivateKey = field(repr=False)

    async def sign(self, content: bytes) -> bytes:
        """Sign with RSA PKCS#1 v1.5 and SHA-256. There is nothing to wait for and nothing to cancel."""
        return self._key.sign(content, PKCS1v15(), SHA256())


def open_card_centre(directory: Path, clock: Clock) -> CardCentre:
    """Open the card centre of a directory; make directory, key and certificate if they are not there yet.

    The key is a software key in a file of mode 0600: good for development, never for real cards (CPS 6.2.1).

    Raises:
        HomeUnusable: the directory cannot be written, or its key or certificate cannot be read.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _open_key(directory / KEY_NAME)
        certificate = _open_certificate(directory / CERTIFICATE_NAME, key, clock)
    except (OSError, ValueError, TypeError) as error:
        raise HomeUnusable(f"the card centre cannot be opened: {error}", place=str(directory)) from error
    return CardCentre(directory, certificate, clock, key)


def _open_key(path: Path) -> rsa.RSAPrivateKey:
    if not path.exists():
        made = rsa.generate_private_key(65537, 2048)
        with durable_file(path, mode=0o600) as file:
            file.write(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} holds no RSA key")
    return key


def _open_certificate(path: Path, key: rsa.RSAPrivateKey, clock: Clock) -> bytes:
    if not path.exists():
        with durable_file(path) as file:
            file.write(_self_signed(key, clock).public_bytes(Encoding.DER))
    content = path.read_bytes()
    if x509.load_der_x509_certificate(content).public_key() != key.public_key():
        raise ValueError(f"{path} is not for the key beside it")
    return content


def _self_signed(key: rsa.RSAPrivateKey, clock: Clock) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sealmint development card centre"),
        ]
    )
    now = clock.now()
    digital_signature = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + LIFETIME
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return builder.add_extension(digital_signature, critical=True).sign(key, SHA256())
