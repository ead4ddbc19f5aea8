"""The token watch on the pretend HSM: what it finds, what it signs with, and what it leaves alone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from engine.authority.back_off import BackOff
from engine.authority.key_health import message_to_test
from engine.control.client import ask_all
from tests.cli.prepared_home import PreparedHome
from tests.issuance.signature_account import account_of
from tests.status.ocsp_home import OcspHome, RunningService

PIN_INCORRECT = 0xA0
PIN_INCORRECT_EXIT_CODE = 14
SERVANTS = {"ocsp", "audit", "operations"}


def health(home: PreparedHome) -> dict[str, dict[str, Any]]:
    """What the watch says of each key; nothing while it has not looked yet."""
    answers = trio.run(ask_all, home.path / "run" / "control", "token-health")
    return {one["key"]: one for _, answer in answers for one in answer.get("keys", [])}


def wait_for(home: PreparedHome, watch: RunningService, **expected: bool) -> dict[str, dict[str, Any]]:
    """Wait until every key is found as expected."""

    def so() -> bool:
        found.clear()
        found.update(health(home))
        return {key: one["healthy"] for key, one in found.items()} == expected

    found = dict[str, dict[str, Any]]()
    assert watch.wait_until(so)
    return found


def often(home: PreparedHome) -> OcspHome:
    """Look at the keys ten times a second."""
    home.configure("[token]\n", "[token]\nhealth_seconds = 0.1\n")
    return OcspHome(home)


@pytest.mark.cps("6.1.9")
def test_every_key_is_looked_at_and_the_one_of_the_ca_signs_nothing(home: PreparedHome) -> None:
    before = account_of(home.path)
    with often(home).service("token_watch") as watch:
        found = wait_for(home, watch, ca=True, ocsp=True, audit=True, operations=True)
        assert all(one["error"] is None and one["last_ok_at"] for one in found.values())
        assert watch.stop() == 0
    account = account_of(home.path)
    assert not account.unaccounted
    assert account.certificates == before.certificates
    tests = account.others.pop("key test")
    assert tests >= len(SERVANTS)
    assert account.others == before.others, "nothing was signed but tests, which the journal has"
    recorded = home.number(
        "SELECT sum(json_extract(body, '$.count')) FROM audit_record WHERE event = 'token.key-tested'"
    )
    assert recorded == tests


def test_a_key_that_is_missing_is_named_and_the_others_are_well(home: PreparedHome) -> None:
    home.configure("[token]\n", '[keys]\naudit = "of-nobody"\n\n[token]\n')
    with often(home).service("token_watch") as watch:
        found = wait_for(home, watch, ca=True, ocsp=True, operations=True, **{"of-nobody": False})
        assert "of-nobody" in found["of-nobody"]["error"]
        assert watch.stop() == 0


def test_a_token_that_is_away_is_told_once_and_so_is_its_return(home: PreparedHome) -> None:
    all_keys = {"ca", *SERVANTS}
    with often(home).service("token_watch") as watch:
        wait_for(home, watch, **dict.fromkeys(all_keys, True))
        before = len(watch.said)
        away = home.hsm.fail_one_in("C_Sign", 0x32, 1)
        found = wait_for(home, watch, **dict.fromkeys(all_keys, False))
        assert all(one["last_ok_at"] for one in found.values())
        home.hsm.disarm(away)
        wait_for(home, watch, **dict.fromkeys(all_keys, True))
        assert watch.stop() == 0
        told = [(line["event"], line["key"]) for line in watch.said[before:] if "key" in line]
        assert set(told[:4]) == {("key-not-well", key) for key in all_keys}
        assert set(told[4:]) == {("key-well", key) for key in all_keys}
    assert not account_of(home.path).unaccounted


def test_a_wrong_pin_is_tried_once(home: PreparedHome) -> None:
    (home.path / "secrets" / "token-pin").write_text("000000")
    before = len(home.hsm.calls("C_Login"))
    with often(home).service("token_watch") as watch:
        assert watch.process.wait() == PIN_INCORRECT_EXIT_CODE
    assert [call.result for call in home.hsm.calls("C_Login")[before:]] == [PIN_INCORRECT]


def test_what_is_signed_can_be_nothing_else() -> None:
    now = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
    one, other = (message_to_test("ocsp", now) for _ in range(2))
    assert one[:1] not in {b"\x30", b"\x31"}, "a SEQUENCE or a SET: what else the servants' keys sign"
    assert b"key ocsp\ntime 2026-11-23T20:00:00+00:00\n" in one
    assert hashlib.sha256(one).digest() != hashlib.sha256(other).digest()


def test_pauses_double_and_never_by_the_clock() -> None:
    back_off = BackOff(draw=lambda: 1.0)
    longest = [back_off.next() for _ in range(7)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert BackOff(draw=lambda: 0.0).next() == pytest.approx(0.05), "half of it is drawn"
    back_off.end()
    assert back_off.next() == pytest.approx(0.1)
    assert BackOff(attempts=10_000).next() <= 2.0
