from __future__ import annotations

import inspect

import pytest
from pkcs11 import exceptions as raised

from engine.errors import SignerFailed, SignerUnavailable
from engine.pkcs11.return_codes import _CODES, error_for, name_of
from engine.pkcs11.return_values import DISPOSITIONS, PIN_UNTOUCHED, Disposition, disposition_of, translate
from engine.pkcs11.token import Token
from tests.hsm_shim import HsmShim

RAISED = {
    kind
    for _, kind in inspect.getmembers(raised, inspect.isclass)
    if issubclass(kind, raised.PKCS11Error) and kind.__module__ == raised.__name__
}


def test_every_exception_of_the_library_has_a_disposition() -> None:
    assert set(DISPOSITIONS) == RAISED


def test_every_disposition_has_a_reason() -> None:
    assert all(len(row.reason) > 10 for row in DISPOSITIONS.values())


@pytest.mark.parametrize(
    "kind", sorted((k for k in RAISED if k.__name__.startswith(("Pin", "UserPin"))), key=str)
)
def test_nothing_about_a_pin_is_ever_tried_again(kind: type[raised.PKCS11Error]) -> None:
    assert DISPOSITIONS[kind].disposition is Disposition.STOP
    assert kind not in PIN_UNTOUCHED


def test_an_unknown_code_replaces_the_session() -> None:
    error = error_for(0x80000123)
    assert disposition_of(error) is Disposition.REPLACE
    assert name_of(error) == "CKR 0x80000123"


def test_a_disposition_decides_whose_error_it_becomes() -> None:
    assert isinstance(translate(error_for(0x30), place="x"), SignerUnavailable)
    assert isinstance(translate(error_for(0x70), place="x"), SignerFailed)
    assert "CKR_DEVICE_ERROR" in str(translate(raised.DeviceError(), place="x"))


@pytest.mark.parametrize("code", sorted(_CODES), ids=lambda code: _CODES[code][0])
def test_the_classes_are_those_of_python_pkcs11(code: int, token: Token, hsm: HsmShim) -> None:
    hsm.fail_next("C_OpenSession", code)
    with pytest.raises(raised.PKCS11Error) as theirs:
        token.open_session()
    assert type(error_for(code)) is type(theirs.value)
