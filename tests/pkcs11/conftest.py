"""The token with its keys, and the pretend HSM with every fault taken away after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair
from engine.pkcs11.module import Module, load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import SessionPool, open_session_pool
from engine.pkcs11.token import Token, find_token
from tests.hsm_shim import HsmShim
from tests.softhsm import SoftHsmToken

OpenPool = Callable[..., AbstractAsyncContextManager[SessionPool]]


@pytest.fixture
def hsm(process_hsm: HsmShim, softhsm_token: SoftHsmToken) -> Iterator[HsmShim]:
    """The pretend HSM, for faults."""
    yield process_hsm
    process_hsm.reset()


@pytest.fixture(scope="session")
def module(softhsm_token: SoftHsmToken) -> Module:
    return load_module(softhsm_token.module_path, softhsm_token.environment)


@pytest.fixture(scope="session")
def token(module: Module, softhsm_token: SoftHsmToken) -> Token:
    return find_token(module, label=softhsm_token.label)


@pytest.fixture(scope="session")
def pin(softhsm_token: SoftHsmToken) -> Pin:
    return softhsm_token.pin


@pytest.fixture(scope="session")
def public_keys(token: Token, pin: Pin) -> Mapping[KeyType, bytes]:
    """A key of every type in the token, labelled with its type's name; the public keys in DER."""
    return {
        key_type: generate_key_pair(token, pin, KeyReference(key_type.value), key_type)
        for key_type in KeyType
    }


@pytest.fixture(scope="session")
def rsa_key(public_keys: Mapping[KeyType, bytes]) -> KeyReference:
    """The RSA-2048 key, which signs fastest."""
    return KeyReference(KeyType.RSA_2048.value)


@pytest.fixture
def open_pool(token: Token, pin: Pin, rsa_key: KeyReference) -> OpenPool:
    """Opens a pool on the token with the RSA-2048 key, unless told otherwise."""

    @asynccontextmanager
    async def open_it(**changes: Any) -> AsyncIterator[SessionPool]:
        options: dict[str, Any] = {
            "keys": [rsa_key], "size": 2, "call_timeout": 60, "max_stuck": 2, "max_waiting": 10_000
        } | changes  # fmt: skip
        async with open_session_pool(options.pop("token", token), options.pop("pin", pin), **options) as pool:
            yield pool

    return open_it
