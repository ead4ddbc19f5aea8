"""Keys in a token: naming one, generating a pair, finding the private key, reading the public one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, MechanismFlag, ObjectClass
from pkcs11 import exceptions as raised
from pkcs11.util.ec import encode_named_curve_parameters

from engine.errors import KeyMismatch
from engine.pkcs11.return_values import after_log_in, translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.pkcs11.pin import Pin
    from engine.pkcs11.token import Token


@dataclass(frozen=True)
class KeyReference:
    """Names one key pair in a token: by CKA_LABEL, and by CKA_ID where labels repeat."""

    label: str
    identifier: bytes | None = None

    def __str__(self) -> str:
        return self.label if self.identifier is None else f"{self.label} (CKA_ID {self.identifier.hex()})"


class KeyType(Enum):
    """The key types that can be generated (CPS 6.1.5 for RSA); the value is the name used in configuration files."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"


_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_3072: 3072, KeyType.RSA_4096: 4096}
_CURVES = {KeyType.EC_P256: "secp256r1", KeyType.EC_P384: "secp384r1"}
_CURVE_OF_PARAMETERS: dict[bytes, ec.EllipticCurve] = {
    encode_named_curve_parameters("secp256r1"): ec.SECP256R1(),
    encode_named_curve_parameters("secp384r1"): ec.SECP384R1(),
}

_PRIVATE_TEMPLATE = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
"""The private key never leaves the token and only signs (CPS 6.1.1, 6.1.9, 6.2.1)."""


def generate_key_pair(token: Token, pin: Pin, reference: KeyReference, key_type: KeyType) -> bytes:
    """Generate a key pair in the token and return its public key as SubjectPublicKeyInfo in DER.

    The private key is not extractable, sensitive, private, and signs only. Without an identifier in the reference,
    CKA_ID is the label in UTF-8, because other programs pair the two objects by it. Blocks: an RSA-4096 key takes
    seconds.

    Raises:
        KeyMismatch: an object with this label exists already.
        PinIncorrect: the token refused the PIN.
        SignerFailed: it refused otherwise.
        SignerUnavailable: it does not answer now.
    """
    with _logged_in(token, pin, writable=True) as session:
        if next(iter(session.get_objects({Attribute.LABEL: reference.label})), None) is not None:
            raise KeyMismatch(f"the label {reference.label} is in use", place=f"token {token.label}")
        identifier = reference.identifier or reference.label.encode()
        public, _ = _generate(session, key_type)(
            id=identifier,
            label=reference.label,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template=_PRIVATE_TEMPLATE,
        )
        return _rsa_information(public) if key_type in _RSA_BITS else _ec_information(public)


def public_key_info(token: Token, pin: Pin, reference: KeyReference) -> bytes:
    """Return a token key's public key as SubjectPublicKeyInfo in DER, without making a signature.

    For RSA from the private object itself (modulus, public exponent), so it tells what the key really is; for EC,
    where the private object does not hold the point, from the public object of the same name. Blocks.

    Raises:
        KeyMismatch: the key is missing, ambiguous, or not one that can be read so.
        PinIncorrect: the token refused the PIN.
        SignerFailed: it refused otherwise.
        SignerUnavailable: it does not answer now.
    """
    with _logged_in(token, pin) as session:
        private = find_private_key(session, reference)
        if private.key_type is pkcs11.KeyType.RSA:
            return _rsa_information(private)
        return _ec_information(_find(session, reference, ObjectClass.PUBLIC_KEY))


def find_private_key(session: Any, reference: KeyReference) -> Any:
    """Return python-pkcs11's object for a private key that may sign.

    Raises:
        pkcs11.exceptions.NoSuchKey: it is not there, or not seen because the session is not logged in.
        pkcs11.exceptions.MultipleObjectsReturned: several answer to the reference.
        KeyMismatch: it may not sign (CKA_SIGN).
    """
    key = _find(session, reference, ObjectClass.PRIVATE_KEY)
    if not isinstance(key, pkcs11.SignMixin):  # python-pkcs11 shows CKA_SIGN by this class
        raise KeyMismatch(f"the key {reference} may not sign", rule="CKA_SIGN is true")
    return key


def _find(session: Any, reference: KeyReference, kind: ObjectClass) -> Any:
    return session.get_key(object_class=kind, label=reference.label, id=reference.identifier)


@contextmanager
def _logged_in(token: Token, pin: Pin, *, writable: bool = False) -> Iterator[Any]:
    try:
        session = token.open_session(writable=writable)
        try:
            _log_in(token, session, pin)
            yield session
        finally:
            session.close()
    except raised.PKCS11Error as error:
        raise translate(error, place=f"token {token.label}") from error


def _log_in(token: Token, session: Any, pin: Pin) -> None:
    try:
        token.log_in(session, pin)
    except raised.PKCS11Error as error:
        refused = after_log_in(error, place=f"token {token.label}")
        if refused is None:
            raise
        raise refused from error


def _generate(session: Any, key_type: KeyType) -> Any:
    if key_type in _RSA_BITS:
        return lambda **options: session.generate_keypair(pkcs11.KeyType.RSA, _RSA_BITS[key_type], **options)
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[key_type])}
    return session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True).generate_keypair


def _rsa_information(key: Any) -> bytes:
    modulus = int.from_bytes(key[Attribute.MODULUS], "big")
    exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT], "big")
    return _encode(rsa.RSAPublicNumbers(exponent, modulus).public_key())


def _ec_information(key: Any) -> bytes:
    curve = _CURVE_OF_PARAMETERS.get(key[Attribute.EC_PARAMS])
    if curve is None:
        raise KeyMismatch("the key's curve is not one of ours", value=key[Attribute.EC_PARAMS].hex())
    point = key[Attribute.EC_POINT]
    # Section 2.3.3 of the mechanisms document wraps the point in an OCTET STRING; some tokens give it bare. A
    # point and an OCTET STRING both begin with 04, so the length tells them apart.
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    return _encode(ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-size:]))


def _encode(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
