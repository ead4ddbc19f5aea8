"""Rounds in which status finds no room: the status store's disk or map, or the disk of the CRLs, is full or broken."""

from __future__ import annotations

import random
from functools import partial

from tests.chaos.host_rounds import ERRORS, faults_of
from tests.chaos.rounds import Round, rest_after_status
from tests.cli.prepared_home import PreparedHome
from tests.host_faults import FULL
from tests.status.ocsp_home import OcspHome, RunningService

_LATENCY_MICROSECONDS = 10_000
"""Of a signature under a CRL: long enough that a disk fills up between two of them."""

_MOST_HITS = 12
"""Calls that fail before there is room again. A guess: several attempts."""

_PAGE = 4_096
_LEAST_PAGES, _MOST_PAGES = 10, 28
"""Of a map that sixty cards do not fit in: they take 30 with their answers (as `mdb_stat` counts them)."""


def act_on(home: PreparedHome, chance: random.Random) -> int:
    """Suspend or revoke a certificate that is drawn, or resume it where it is suspended; return the exit code."""
    serial, state = chance.choice(
        home.query(
            "SELECT serial, state FROM reservation JOIN certificate_status USING (item_id) ORDER BY serial"
        )
    )
    verb, ground = "suspend", "token-lost"
    if state == 1:
        verb, ground = "resume", "subscriber-request"
    elif chance.random() < 0.3:
        verb, ground = "revoke", "key-compromise"
    return home.start("cert", verb, serial.hex(), "--ground", ground).wait()


def _status_store_fails(error: int, home: PreparedHome, chance: random.Random) -> str:
    """Before the store is there, or while it is followed. The follower goes on by itself, or is started again."""
    faults = faults_of(home)
    hits = chance.randint(1, _MOST_HITS)
    is_new = chance.random() < 0.4
    if is_new:
        faults.fail(error, "/status-store/")
    with OcspHome(home).service("follower") as follower:
        if not is_new:
            assert follower.wait_until(lambda: follower.has_said("following"))
            assert OcspHome(home).pre_sign() == 0
            faults.fail(error, "/status-store/")
        for _ in range(3):
            act_on(home, chance)
        follower.wait_until(lambda: faults.hits >= hits)
        assert faults.hits
        faults.heal()
        how = "went on" if follower.process.poll() is None else "ended"
    return f"{'built' if is_new else 'followed'}: {faults.hits} calls failed, the follower {how}"


def status_files_round(chance: random.Random) -> Round:
    """The disk of the status store is full, or broken."""
    name = chance.choice([*ERRORS])
    disturb = partial(_status_store_fails, ERRORS[name])
    return Round("status-files", f"the status store's disk is {name}", True, disturb, rest_after_status, True)


def _map_is_full(home: PreparedHome, chance: random.Random) -> str:
    """The store may not grow to what its cards take; the next follower gives it room."""
    pages = chance.randint(_LEAST_PAGES, _MOST_PAGES)
    settings: dict[str, float] = {"status_store.MAP_OCTETS": pages * _PAGE}
    with OcspHome(home).service("follower", settings=settings) as follower:
        follower.wait_until(lambda: follower.has_said("following"))
        assert OcspHome(home).pre_sign() == 0
        act_on(home, chance)
        follower.wait_until(lambda: _is_full(follower))
        assert _is_full(follower), follower.said
        how = "went on" if follower.process.poll() is None else "ended"
    return f"{pages} pages; the follower {how}"


def _is_full(follower: RunningService) -> bool:
    return any("FULL" in str(line.get("message")) for line in follower.said)


def map_round(_: random.Random) -> Round:
    """The status store's map is full."""
    return Round("map", "the status store's map is full", True, _map_is_full, rest_after_status, True)


def _crl_disk_is_full(home: PreparedHome, chance: random.Random) -> str:
    """While the publisher writes one list after the other; it goes on by itself when there is room."""
    faults = faults_of(home)
    for _ in range(chance.randint(0, 3)):
        act_on(home, chance)
    home.hsm.latency("C_Sign", _LATENCY_MICROSECONDS)
    before, after = home.log_lines, chance.randint(0, 2)
    with OcspHome(home).service("crl_publisher") as publisher:
        publisher.wait_until(lambda: home.log_lines - before >= after)
        faults.fail(FULL, "/crl/")
        hits = chance.randint(1, _MOST_HITS)
        publisher.wait_until(lambda: faults.hits >= hits)
        assert faults.hits
        faults.heal()
        scopes = home.number("SELECT count(*) FROM crl_scope")
        lists = "SELECT count(DISTINCT scope_id) FROM crl_issue WHERE published_at IS NOT NULL"
        publisher.wait_until(lambda: home.number(lists) == scopes)
        assert publisher.stop() == 0
    return f"{faults.hits} calls failed after list {after}, {scopes} lists"


def crl_disk_round(_: random.Random) -> Round:
    """The disk of the CRLs is full."""
    return Round("crl-disk", "the CRLs' disk is full", True, _crl_disk_is_full, rest_after_status, True)
