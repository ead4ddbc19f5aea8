"""One SoftHSM for the whole test process, behind the pretend HSM; and a prepared home, with copies of it.

A process can load a module once, with one configuration, and SoftHSM loaded twice (by itself and by the pretend HSM)
would be initialised twice. So everything here goes through the pretend HSM, with no fault set; a test that needs
SoftHSM with another configuration starts a process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome, copy_of, make_template
from tests.hsm_shim import HsmShim, build
from tests.postgresql_server import PostgresqlServer, running_server
from tests.softhsm import SOFTHSM, SoftHsmToken, make_token


@pytest.fixture(scope="session")
def process_hsm(tmp_path_factory: pytest.TempPathFactory) -> HsmShim:
    """The pretend HSM that this process loads."""
    return HsmShim(tmp_path_factory.mktemp("hsm"), SOFTHSM)


@pytest.fixture(scope="session")
def softhsm_token(process_hsm: HsmShim, tmp_path_factory: pytest.TempPathFactory) -> SoftHsmToken:
    """The token that this process uses; its environment is set, once and for all."""
    token = make_token(tmp_path_factory.mktemp("softhsm"), "sealmint test")
    library = build(Path(__file__).parent.parent / "build" / "libhsm_shim.so")
    environment = token.environment | process_hsm.environment
    os.environ.update(environment)
    return dataclasses.replace(token, module_path=library, environment=environment)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """The home that is copied; tests must not change it."""
    return make_template(tmp_path_factory.getbasetemp() / "prepared")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The server that tests share; whoever breaks one makes his own."""
    with running_server() as server:
        yield server


@pytest.fixture
def home(prepared: PreparedHome, tmp_path: Path) -> PreparedHome:
    """A copy of the prepared home: run 1 is planned, nothing is issued."""
    return copy_of(prepared, tmp_path / "copy")
