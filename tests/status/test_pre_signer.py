"""The pre-signer as a process, on a real token: everything signed, everything accounted for, whatever befalls it."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp

from engine.home import Home
from engine.status.status_store import StatusReader
from engine.store.schema import CertificateState
from tests.cli.prepared_home import COMPANIES, copy_of
from tests.judges.pkilint_judge import ocsp_findings
from tests.status.ocsp_home import OcspHome

SEED = 20261123
DEVICE_REMOVED, PIN_INCORRECT, TOKEN_NOT_PRESENT = 0x32, 0xA0, 0xE0
WRONG_PIN = 14
"""Exit code that nobody answers by starting it again."""


@pytest.fixture
def home(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "copy"))


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def answers(home: OcspHome, *cards: int) -> list[bytes]:
    """The signed answers of cards, as they go out."""
    assert home.home.look("ocsp", "rebuild").json["cards"] == COMPANIES
    with StatusReader(home.status_store) as reader:
        found = [reader.presigned(0, home.serials(card)[0], now()) for card in cards]
    return [one.response for one in found if one is not None]


@pytest.mark.judge("openssl")
def test_one_signature_for_two_certificates_and_two_hashes(home: OcspHome) -> None:
    """Two signers divide the cards; none is signed for twice."""
    home.act(1, 1, CertificateState.REVOKED)
    with (
        home.service("pre_signer", "--once", "--share", "0/2") as even,
        home.service("pre_signer", "--once", "--share", "1/2") as odd,
    ):
        assert [even.process.wait(), odd.process.wait()] == [0, 0]
    assert home.is_all_answered()
    assert home.accounted().others["OCSP answer"] == COMPANIES
    sent = answers(home, *range(1, COMPANIES + 1))
    assert len(sent) == COMPANIES
    for hash_name in ("sha1", "sha256"):
        said = home.ask_openssl(sent[0], home.serials(1), hash_name)
        assert "Response verify OK" in said
        assert re.findall(r"^0x[0-9a-f]+: (\w+)$", said, re.MULTILINE) == ["good", "revoked"]
    assert ocsp_findings(sent[0]) == ocsp_findings(sent[1]) == []


def test_killed_at_any_moment_everything_is_accounted_for_and_signed_in_the_end(home: OcspHome) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    home.home.hsm.latency("C_Sign", 4_000)
    killed = 0
    for _ in range(3):
        signed = home.home.log_lines + chance.randint(1, 25)
        with home.service("pre_signer", "--once", settings={"answer_pipeline.BATCH": 8}) as signer:
            if signer.wait_until(lambda signed=signed: home.home.log_lines >= signed):  # type: ignore[misc]  # mypy does not see the default
                signer.kill()
                killed += 1
        # What was signed was recorded before, also at this moment, and nothing is half stored.
        account = home.accounted()
        assert account.others["OCSP answer"] <= sum(size for _, size, _ in home.batches())
        home.act(chance.randint(1, COMPANIES), 0, CertificateState.HELD)
    assert killed >= 2
    home.home.hsm.reset()
    assert home.pre_sign() == 0
    assert home.is_all_answered()
    home.accounted()
    assert home.home.look("audit", "verify").json["whole"]
    for response in answers(home, *range(1, COMPANIES + 1)):
        parsed = ocsp.load_der_ocsp_response(response)
        assert parsed.responder_key_hash is not None


def test_a_token_that_goes_away_is_waited_for(home: OcspHome) -> None:
    with home.service("pre_signer") as signer:
        assert signer.wait_until(home.is_all_answered)
        away = home.home.hsm.fail_one_in("C_Sign", DEVICE_REMOVED, 1)
        home.act(7, 0, CertificateState.REVOKED)
        assert signer.wait_until(lambda: signer.has_said("signing-failed"))
        assert home.answered() == COMPANIES - 1
        home.home.hsm.disarm(away)
        assert signer.wait_until(home.is_all_answered)
        assert home.batches()[-1] == (True, 1, True)  # urgent
        assert signer.stop() == 0
    home.accounted()


def test_a_token_that_is_not_there_at_the_start_is_waited_for(home: OcspHome) -> None:
    away = home.home.hsm.fail_one_in("C_OpenSession", TOKEN_NOT_PRESENT, 1)
    with home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("signing-failed"))
        home.home.hsm.disarm(away)
        assert signer.wait_until(home.is_all_answered)
        assert signer.stop() == 0


def test_a_wrong_pin_is_tried_once(home: OcspHome) -> None:
    home.home.hsm.fail_one_in("C_Login", PIN_INCORRECT, 1)
    before = len(home.home.hsm.calls("C_Login"))
    with home.service("pre_signer") as signer:
        assert signer.process.wait() == WRONG_PIN
        assert signer.said[-1]["error"] == "PinIncorrect"
    assert len(home.home.hsm.calls("C_Login")) == before + 1


def test_a_second_signer_of_a_share_waits(home: OcspHome) -> None:
    lease(home, datetime.now(UTC) + timedelta(days=1))
    with home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("another-signs"))
        assert signer.stop() == 0
    assert home.answered() == 0
    lease(home, datetime.now(UTC) - timedelta(seconds=1))
    with Home(home.path).lock("pre-signing-0-1", "signing"), home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("another-signs"))
        assert signer.stop() == 0
    assert home.answered() == 0
    assert home.pre_sign() == 0
    assert home.is_all_answered()


def test_until_nothing_is_left_also_where_another_signs(home: OcspHome) -> None:
    home.home.hsm.latency("C_Sign", 20_000)
    before = home.home.log_lines
    with home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("signing"))
        assert home.pre_sign() == 0
        assert home.is_all_answered()
    assert {one.process for one in home.home.hsm.signatures()[before:]} == {signer.process.pid}


def test_a_signer_that_lost_its_lease_leaves_the_share(home: OcspHome) -> None:
    """It was stopped for so long that another host took over."""
    with home.service("pre_signer", settings={"pre_signer.LEASE_SECONDS": 1.5}) as signer:
        assert signer.wait_until(home.is_all_answered)
        lease(home, datetime.now(UTC) + timedelta(days=1))
        assert signer.wait_until(lambda: signer.has_said("lease-lost") and signer.has_said("another-signs"))
        home.act(1, 0, CertificateState.HELD)
        assert signer.stop() == 0
    assert home.answered() == COMPANIES - 1


def lease(home: OcspHome, until: datetime) -> None:
    """Let another host have the share."""
    with closing(sqlite3.connect(home.path / "store.sqlite", timeout=60)) as connection, connection:
        connection.execute(
            "INSERT OR REPLACE INTO lease (name, holder, fence, until) VALUES ('pre-signing/0/1', 'another', 99, ?)",
            (int(until.timestamp() * 1_000_000),),
        )


def test_it_stops_when_its_starter_is_gone(home: OcspHome) -> None:
    with home.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("signing"))
        assert signer.process.stdin is not None
        signer.process.stdin.close()
        assert signer.process.wait() == 0
    with closing(sqlite3.connect(home.path / "store.sqlite", timeout=60)) as connection:
        ((until,),) = connection.execute("SELECT until FROM lease WHERE name = 'pre-signing/0/1'")
    assert until <= now() * 1_000_000 + 1_000_000  # given back
