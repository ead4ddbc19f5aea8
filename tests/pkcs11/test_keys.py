from __future__ import annotations

from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, ObjectClass

from engine.errors import KeyMismatch, PinIncorrect, SignerFailed
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair, public_key_info
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

SIZES = {
    KeyType.RSA_2048: 2048,
    KeyType.RSA_3072: 3072,
    KeyType.RSA_4096: 4096,
    KeyType.EC_P256: 256,
    KeyType.EC_P384: 384,
}


@pytest.mark.cps("6.1.5")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("key_type", KeyType)
def test_a_generated_key_is_of_its_type_and_size(
    key_type: KeyType, public_keys: Mapping[KeyType, bytes]
) -> None:
    key = load_der_public_key(public_keys[key_type])
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == SIZES[key_type]


@pytest.mark.cps("6.2.1")
@pytest.mark.parametrize("key_type", KeyType)
def test_a_private_key_stays_inside_and_only_signs(
    key_type: KeyType, public_keys: Mapping[KeyType, bytes], token: Token, pin: Pin
) -> None:
    session = token.open_session()
    token.log_in(session, pin)
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=key_type.value)
    yes = {Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE}
    yes |= {Attribute.NEVER_EXTRACTABLE, Attribute.SIGN}
    no = {Attribute.EXTRACTABLE, Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE}
    wanted = dict.fromkeys(yes, True) | dict.fromkeys(no, False)
    found = {attribute: key[attribute] for attribute in wanted}
    session.close()
    assert found == wanted


@pytest.mark.parametrize("key_type", KeyType)
def test_the_public_key_is_read_back_without_a_signature(
    key_type: KeyType, public_keys: Mapping[KeyType, bytes], token: Token, pin: Pin, hsm: HsmShim
) -> None:
    before = len(hsm.signatures())
    assert public_key_info(token, pin, KeyReference(key_type.value)) == public_keys[key_type]
    assert len(hsm.signatures()) == before


def test_a_key_is_found_by_its_identifier_too(
    public_keys: Mapping[KeyType, bytes], token: Token, pin: Pin
) -> None:
    key_type = KeyType.EC_P256
    reference = KeyReference(key_type.value, key_type.value.encode())
    assert public_key_info(token, pin, reference) == public_keys[key_type]
    with pytest.raises(KeyMismatch, match="not in the token"):
        public_key_info(token, pin, KeyReference(key_type.value, b"another"))


def test_a_label_in_use_is_refused(public_keys: Mapping[KeyType, bytes], token: Token, pin: Pin) -> None:
    with pytest.raises(KeyMismatch, match="rsa-2048 is in use"):
        generate_key_pair(token, pin, KeyReference("rsa-2048"), KeyType.EC_P256)


async def test_a_pool_does_not_open_without_its_key(open_pool: OpenPool, hsm: HsmShim) -> None:
    opened = len(hsm.calls("C_OpenSession"))
    closed = len(hsm.calls("C_CloseSession"))
    with pytest.raises(KeyMismatch, match="no-such-key"):
        async with open_pool(keys=[KeyReference("no-such-key")]):
            pass
    assert len(hsm.calls("C_OpenSession")) - opened == len(hsm.calls("C_CloseSession")) - closed == 2


def test_a_log_in_that_may_have_cost_an_attempt_is_not_tried_again(
    token: Token, pin: Pin, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.fail_next("C_Login", 0x30)  # CKR_DEVICE_ERROR, after which other calls are tried again
    with pytest.raises(SignerFailed, match="CKR_DEVICE_ERROR, which may have cost an attempt"):
        public_key_info(token, pin, rsa_key)


def test_a_wrong_pin_is_tried_once(token: Token, hsm: HsmShim) -> None:
    before = len(hsm.calls("C_Login"))
    with pytest.raises(PinIncorrect):
        public_key_info(token, Pin("wrong"), KeyReference("rsa-2048"))
    assert len(hsm.calls("C_Login")) == before + 1
