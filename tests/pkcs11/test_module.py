from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigurationInvalid
from engine.pkcs11.cryptoki import CKF_OS_LOCKING_OK
from engine.pkcs11.module import Module, load_module
from tests.hsm_shim import HsmShim
from tests.softhsm import SoftHsmToken


def test_the_module_is_initialised_once_and_for_several_threads(module: Module, process_hsm: HsmShim) -> None:
    (call,) = process_hsm.calls("C_Initialize")
    assert call.result == 0
    assert call.detail & CKF_OS_LOCKING_OK


def test_a_second_load_gives_the_same_module(module: Module, softhsm_token: SoftHsmToken) -> None:
    path = softhsm_token.module_path
    assert load_module(path.parent / "." / path.name) is module


def test_another_environment_comes_too_late(module: Module) -> None:
    with pytest.raises(ConfigurationInvalid, match="loaded already with another SOFTHSM2_CONF"):
        load_module(module.path, {"SOFTHSM2_CONF": "/elsewhere"})


def test_a_module_does_not_survive_a_fork(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.pkcs11.module.os.getpid", lambda: module.process + 1)
    with pytest.raises(ConfigurationInvalid, match="before a fork"):
        load_module(module.path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="no-such-module"):
        load_module(tmp_path / "no-such-module.so")


def test_a_library_that_is_no_pkcs11_module_is_refused() -> None:
    with pytest.raises(ConfigurationInvalid, match="no PKCS#11 module"):
        load_module(Path("/usr/lib/x86_64-linux-gnu/libcrypto.so.3"))
