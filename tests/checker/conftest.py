"""A home in which everything was done once that leaves a signature behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.checker.damage import FIRST_CRLS
from tests.cli.prepared_home import PreparedHome, copy_of


@pytest.fixture(scope="session")
def worked(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    """Certificates are issued, some withdrawn; a checkpoint, CRLs with deltas and OCSP answers are signed.

    Tests change copies of it only.
    """
    home = copy_of(prepared, tmp_path_factory.mktemp("checker") / "worked")
    home.configure("[token]\n", "[crl]\ndelta = true\n\n[token]\n")
    home.sealmint("run", "start", "1")
    home.sealmint("crl", "publish")
    shutil.copytree(home.path / "crl", home.path / FIRST_CRLS)
    cards = [card for (card,) in home.query("SELECT number FROM card ORDER BY id LIMIT 3")]
    home.look("cert", "suspend", "--card", cards[0], "--ground", "token-lost")
    home.look("cert", "revoke", "--card", cards[1], "--ground", "key-compromise")
    home.look("cert", "suspend", "--card", cards[2], "--ground", "token-lost")
    home.look("cert", "resume", "--card", cards[2], "--ground", "subscriber-request")
    home.sealmint("crl", "publish")
    home.sealmint("ocsp", "presign")
    home.sealmint("audit", "checkpoint")
    yield home
