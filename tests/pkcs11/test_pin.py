from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from engine.errors import ConfigurationInvalid
from engine.pkcs11.pin import Pin


def pin_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "pin"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.cps("6.4.1")
def test_a_pin_never_shows() -> None:
    pin = Pin("secret-1234")
    for shown in (repr(pin), str(pin), f"{pin}", f"{[pin]}", repr({"pin": pin})):
        assert "secret" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(pin)


@pytest.mark.parametrize(
    "content", [b"1234 5678", b"1234 5678\n", b"1234 5678\r\n", b"1234 5678\nwhat else stands there"]
)
def test_the_first_line_of_the_file_is_the_pin(content: bytes, tmp_path: Path) -> None:
    assert Pin.from_file(pin_file(tmp_path, content)).reveal() == b"1234 5678"


@pytest.mark.cps("6.4.1")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644])
def test_a_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=f"{mode:04o}") as refused:
        Pin.from_file(pin_file(tmp_path, b"secret-1234", mode))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\n1234", b"secret-\xff"])
def test_a_file_without_a_pin_is_refused_and_not_quoted(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="pin:") as refused:
        Pin.from_file(pin_file(tmp_path, content))
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="no-pin: the PIN file cannot be read: No such file"):
        Pin.from_file(tmp_path / "no-pin")


def test_the_prompt_does_not_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    # getpass is what switches the echo off
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"the answer to {prompt}")
    assert Pin.from_prompt("PIN of token x: ").reveal() == b"the answer to PIN of token x: "


def test_an_empty_answer_is_no_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")
    with pytest.raises(ConfigurationInvalid):
        Pin.from_prompt()
