"""Metering in real listener processes: tokens, addresses behind a proxy, quotas of a host, and processes that die."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path

import pytest

from engine.x509.ocsp_response import ResponseStatus, error_response
from tests.cli.prepared_home import SAFETY_NET
from tests.judges.toy_authority import ToyAuthority
from tests.responders.listener_process import ListenerProcess, listener_process
from tests.responders.metered import TOKEN, UNKNOWN_TOKEN, account, list_accounts, spooled
from tests.responders.ocsp_requests import plain
from tests.responders.proxy_headers import version_1, version_2
from tests.responders.synthetic_status import GOOD, NOBODY_FOLLOWS, SyntheticStatus

pytestmark = pytest.mark.cps("4.4.12")

UNAUTHORIZED = error_response(ResponseStatus.UNAUTHORIZED)
NETWORK = "203.0.113.0/24"
MEMBER, STRANGER = ip_address("203.0.113.9"), ip_address("198.51.100.1")
FLUSH = "[metering]\nenabled = true\nflush_seconds = 1\n"
PROXIES = '[responders]\nproxies = ["127.0.0.1"]\n'


class MeteredHome:
    """A home with a status store, accounts, and its listener processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = SyntheticStatus(path / "status-store", ToyAuthority())
        self.status.build()
        self.spool = path / "usage" / "spool"
        self.question = plain(GOOD, self.status.issuer)

    def configure(self, *sections: str) -> None:
        (self.path / "sealmint.toml").write_text(
            '[token]\nmodule = "/none"\nlabel = "none"\n[ocsp]\nnonce = "ignore"\n'
            f"stale_seconds = {NOBODY_FOLLOWS}\n" + "".join(sections)
        )

    def accounts(self, *accounts: dict[str, object]) -> None:
        list_accounts(self.path / "usage" / "accounts.json", *accounts)

    def listener(self) -> AbstractContextManager[ListenerProcess]:
        return listener_process(self.path, self.question)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        bound = time.monotonic() + SAFETY_NET
        while not condition():
            assert time.monotonic() < bound, spooled(self.spool)
            time.sleep(0.01)


@pytest.fixture
def home(tmp_path: Path) -> MeteredHome:
    made = MeteredHome(tmp_path)
    made.configure(FLUSH)
    return made


def test_tokens_and_addresses_behind_a_proxy_are_counted(home: MeteredHome) -> None:
    home.configure(FLUSH, PROXIES)
    home.accounts(account("bank", token=TOKEN), account("tax office", NETWORK))
    with home.listener() as first, home.listener() as second:
        for process, times in ((first, 30), (second, 12)):
            for header in (version_1(MEMBER), version_2(MEMBER)):
                assert UNAUTHORIZED not in process.ask(header=header, times=times)
            assert UNAUTHORIZED not in process.ask(TOKEN, header=version_2(STRANGER), times=times)
            assert process.ask(header=version_1(STRANGER)) == [UNAUTHORIZED]
            assert process.ask(UNKNOWN_TOKEN, header=version_1(MEMBER)) == [UNAUTHORIZED]
        first.stop()
        second.stop()
    assert spooled(home.spool) == {"bank": (42, 0), "tax office": (84, 0)}
    assert len(list(home.spool.glob("*.jsonl"))) >= 2


def test_a_quota_holds_over_the_processes_of_a_host(home: MeteredHome) -> None:
    home.accounts(account("bank", token=TOKEN, quota=50))
    with home.listener() as first, home.listener() as second:
        assert UNAUTHORIZED not in first.ask(TOKEN, times=49)
        home.wait_until(
            lambda: not second.is_authorized(TOKEN)
        )  # it takes what is left, and an interval's more
        assert first.ask(TOKEN, times=3)[-1] == UNAUTHORIZED
        first.stop()
        second.stop()
    answers, refused = spooled(home.spool)["bank"]
    assert answers >= 50
    assert refused >= 1
    with home.listener() as third:
        assert third.ask(TOKEN) == [UNAUTHORIZED]


def test_a_killed_process_loses_one_interval_at_most(home: MeteredHome) -> None:
    """What was asked before the last flush is in the spool, whole, and its successor goes on from there."""
    home.accounts(account("bank", token=TOKEN, quota=60))
    with home.listener() as process:
        process.ask(TOKEN, times=40)
        home.wait_until(lambda: spooled(home.spool) == {"bank": (40, 0)})
        process.ask(TOKEN, times=15)
        process.process.kill()
        process.process.wait()
    kept = spooled(home.spool)["bank"][0]
    assert 40 <= kept <= 55
    with home.listener() as successor:
        bodies = successor.ask(TOKEN, times=60 - kept + 1)
        assert UNAUTHORIZED not in bodies[:-1]
        assert bodies[-1] == UNAUTHORIZED
        successor.stop()
    assert spooled(home.spool)["bank"] == (60, 1)


def test_a_new_account_is_known_without_a_new_start(home: MeteredHome) -> None:
    home.accounts(account("tax office", NETWORK))
    with home.listener() as process:
        assert process.ask(TOKEN) == [UNAUTHORIZED]
        home.accounts(account("bank", token=TOKEN), account("local", "127.0.0.0/8"))
        home.wait_until(lambda: process.is_authorized(TOKEN))
        assert UNAUTHORIZED not in process.ask()
        process.stop()
    assert spooled(home.spool) == {"bank": (1, 0), "local": (1, 0)}


def test_nothing_is_metered_by_default(home: MeteredHome) -> None:
    home.configure()
    with home.listener() as process:
        assert UNAUTHORIZED not in process.ask()
        process.stop()
    assert not home.spool.exists()


def test_an_unmetered_host_may_be_behind_a_proxy(home: MeteredHome) -> None:
    home.configure(PROXIES)
    with home.listener() as process:
        assert UNAUTHORIZED not in process.ask(header=version_2(STRANGER), times=2)
        process.stop()
    assert not home.spool.exists()
