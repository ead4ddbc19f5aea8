from __future__ import annotations

import pytest

from engine.errors import ConfigurationInvalid, PinIncorrect, SignerFailed
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair
from engine.pkcs11.module import Module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token, TokenLimits, find_token
from engine.pkcs11.token_initialisation import initialise_token
from tests.hsm_shim import HsmShim


def test_a_token_says_what_it_is(token: Token) -> None:
    assert (token.label, token.manufacturer, token.model) == (
        "sealmint test",
        "SoftHSM project",
        "SoftHSM v2",
    )
    assert len(token.serial) == 16


def test_an_unknown_label_is_named_with_the_tokens_there_are(module: Module, token: Token) -> None:
    with pytest.raises(SignerFailed, match=rf"no token 'elsewhere'.*'sealmint test' \({token.serial}\)"):
        find_token(module, label="elsewhere")


def test_the_serial_number_must_fit_too(module: Module, token: Token) -> None:
    assert find_token(module, label=token.label, serial=token.serial).serial == token.serial
    with pytest.raises(SignerFailed, match="with serial number '0000'"):
        find_token(module, label=token.label, serial="0000")


def test_a_token_without_limits_says_so(token: Token) -> None:
    assert token.limits() == TokenLimits(max_sessions=None, open_sessions=None)


def test_a_cap_on_sessions_is_read_with_the_sessions_open(token: Token, hsm: HsmShim) -> None:
    hsm.cap_sessions(5)
    session = token.open_session()
    limits = token.limits()
    session.close()
    assert limits == TokenLimits(max_sessions=5, open_sessions=1)


def test_a_fresh_token_takes_both_pins(module: Module) -> None:
    initialise_token(module, label="另一枚", security_officer_pin=Pin("so-5678"), pin=Pin("user-5678"))
    fresh = find_token(module, label="另一枚")
    generate_key_pair(fresh, Pin("user-5678"), KeyReference("k"), KeyType.EC_P256)
    with pytest.raises(PinIncorrect):
        generate_key_pair(fresh, Pin("so-5678"), KeyReference("l"), KeyType.EC_P256)


def test_a_label_is_given_once(module: Module, token: Token) -> None:
    with pytest.raises(ConfigurationInvalid, match="has this label already"):
        initialise_token(module, label=token.label, security_officer_pin=Pin("a"), pin=Pin("b"))


@pytest.mark.parametrize("label", ["", "電" * 11])
def test_a_label_has_1_to_32_octets(module: Module, label: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="1 to 32 octets"):
        initialise_token(module, label=label, security_officer_pin=Pin("a"), pin=Pin("b"))
