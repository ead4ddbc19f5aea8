"""`sealmint ocsp`: what its commands do, say, and end with."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from engine.status.status_store import StatusReader
from engine.store.schema import CertificateState
from tests.cli.prepared_home import COMPANIES, PreparedHome, copy_of, run_here
from tests.status import ocsp_home
from tests.status.ocsp_home import OcspHome

DEVICE_REMOVED = 0x32
HOME_UNUSABLE, TOKEN_FAILED, STORE_FAILED = 5, 7, 9


@pytest.fixture(scope="module")
def issued_home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> OcspHome:
    """The prepared home with its certificates issued."""
    home = copy_of(prepared, tmp_path_factory.mktemp("issued-home") / "copy")
    ocsp_home.issue(home)
    return OcspHome(home)


@pytest.fixture
def ocsp(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "copy"))


def test_presign_signs_everything_and_fills_the_status_store(ocsp: OcspHome) -> None:
    ocsp.act(4, 1, CertificateState.REVOKED)
    document = ocsp.home.sealmint("ocsp", "presign", "--sessions", 2).json
    assert document == {"cards": COMPANIES, "answered": COMPANIES, "owed": 0, "due": 0}
    status = ocsp.home.look("ocsp", "status").json
    assert (status["answered"], status["owed"], status["responder"]) == (COMPANIES, 0, "ocsp")
    assert status["status_store_behind"] == 0
    assert status["responder_not_after"].endswith("+08:00")
    ocsp.act(4, 1, CertificateState.REVOKED)
    said = run_here("ocsp", "status", "--home", ocsp.path).out  # to people
    lines = dict(line.rsplit(maxsplit=1) for line in said.splitlines() if line.strip())
    assert (lines["cards"], lines["owed"], lines["status store behind"]) == (str(COMPANIES), "1", "1")
    assert sorted({urgent for urgent, _, _ in ocsp.batches()}) == [False, True]
    ocsp.accounted()


def test_presign_fails_when_the_token_does(ocsp: OcspHome) -> None:
    ocsp.home.hsm.fail_one_in("C_Sign", DEVICE_REMOVED, 1)
    answer = ocsp.home.sealmint("ocsp", "presign", "--signers", 1, code=TOKEN_FAILED)
    assert answer.error["error"] == "TokenError"
    status = ocsp.home.look("ocsp", "status").json
    assert (status["cards"], status["answered"]) == (COMPANIES, 0)


def test_status_without_a_copy_on_this_host(ocsp: OcspHome) -> None:
    status = ocsp.home.look("ocsp", "status").json
    assert (status["cards"], status["status_store_behind"]) == (COMPANIES, None)
    damaged = ocsp.status_store / "generation-1"
    damaged.mkdir(parents=True)
    (damaged / "data.mdb").write_bytes(bytes(65_536))
    (ocsp.status_store / "CURRENT").write_text(damaged.name)
    assert ocsp.home.look("ocsp", "status", code=STORE_FAILED).error["place"] == str(damaged)
    assert ocsp.home.look("ocsp", "rebuild").json["cards"] == COMPANIES
    assert ocsp.home.look("ocsp", "status").json["status_store_behind"] == 0


def test_presign_beside_a_follower_waits_until_it_has_come_so_far(ocsp: OcspHome) -> None:
    with ocsp.service("follower") as follower:
        assert follower.wait_until(lambda: follower.has_said("following"))
        ocsp.home.sealmint("ocsp", "presign", "--signers", 1)
        with StatusReader(ocsp.status_store) as reader:
            now = reader.freshness().written_at
            for card in (1, COMPANIES):
                assert reader.presigned(0, ocsp.serials(card)[0], now) is not None


@pytest.mark.cps("6.4.2")
def test_presign_asks_for_the_pin_once(ocsp: OcspHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all of its processes."""
    pin_file = ocsp.path / "secrets" / "token-pin"
    pin = pin_file.read_text().strip()
    pin_file.unlink()
    ocsp.home.configure("[token]\n", '[token]\npin_file = "prompt"\n')
    asked: list[str] = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return pin

    monkeypatch.setattr(getpass, "getpass", typed)
    assert ocsp.home.look("ocsp", "presign").json["answered"] == COMPANIES
    assert len(asked) == 1


def test_rebuild(ocsp: OcspHome) -> None:
    document = ocsp.home.look("ocsp", "rebuild").json
    assert document == {"cards": COMPANIES, "status_store": str(ocsp.status_store)}
    with StatusReader(ocsp.status_store) as reader:
        assert reader.standing(0, ocsp.serials(1)[0]) is not None


def test_rebuild_counts_cards_that_are_issued(home: PreparedHome) -> None:
    assert home.look("ocsp", "rebuild").json["cards"] == 0


def test_no_responder_is_made_before_its_time(ocsp: OcspHome) -> None:
    assert ocsp.home.look("ocsp", "renew-responder").json == {"renewed": False}


@pytest.mark.parametrize("name", ["presign", "rebuild", "status", "renew-responder"])
def test_without_a_home_each_says_so(tmp_path: Path, name: str) -> None:
    answer = run_here("ocsp", name, "--home", tmp_path, "--json")
    assert answer.code == HOME_UNUSABLE
    assert answer.error["place"] == str(tmp_path)
