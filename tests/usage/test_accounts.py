"""Accounts of relying parties: what may be opened, what is kept of a token, what the audit log says."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from engine.clock import SetClock
from engine.errors import InputRejected
from engine.store.database import Store
from engine.store.relying_party_accounts import all_accounts, open_accounts
from engine.store.schema import audit_record
from engine.usage.account_list import read_account_list, write_account_list
from engine.usage.accounts import OpenedAccount, close_account, open_account
from engine.usage.address_ranges import Network, overlapping, parse_address

ACTOR = "account officer"


class Officer:
    """Opens and closes accounts."""

    def __init__(self, store: Store, clock: SetClock) -> None:
        self.store, self.clock = store, clock

    def open(self, name: str, *ranges: str, quota: int | None = None, token: bool = True) -> OpenedAccount:
        return open_account(
            self.store,
            self.clock,
            ACTOR,
            name=name,
            address_ranges=ranges,
            monthly_quota=quota,
            with_token=token,
        )

    def close(self, name: str) -> None:
        close_account(self.store, self.clock, ACTOR, name)

    @property
    def names(self) -> list[str]:
        with self.store.read() as connection:
            return [account.name for account in open_accounts(connection)]

    @property
    def audited(self) -> list[tuple[str, dict[str, Any]]]:
        with self.store.read() as connection:
            rows = connection.execute(
                select(audit_record.c.event, audit_record.c.body).order_by(audit_record.c.sequence)
            )
            return [(row.event, json.loads(row.body)) for row in rows]


@pytest.fixture
def officer(store: Store, clock: SetClock) -> Officer:
    return Officer(store, clock)


@pytest.mark.cps("4.4.12")
def test_an_account_is_opened_on_the_record_and_its_token_is_kept_nowhere(officer: Officer) -> None:
    opened = officer.open("第一銀行 (OCSP)", "203.0.113.0/24", "2001:db8::1", quota=1_000)
    assert opened.token is not None
    assert len(bytes.fromhex(opened.token)) == 16
    with officer.store.read() as connection:
        (stored,) = open_accounts(connection)
    assert stored == opened.account
    assert stored.token_sha256 == hashlib.sha256(opened.token.encode("ascii")).digest()
    assert stored.address_ranges == ("203.0.113.0/24", "2001:db8::1/128")
    ((event, body),) = officer.audited
    assert event == "usage.account-opened"
    assert body["account"] == "第一銀行 (OCSP)"
    assert body["monthly_quota"] == 1_000
    database = Path(str(officer.store.engine.url.database))
    kept = b"".join(path.read_bytes() for path in database.parent.glob(database.name + "*"))
    assert opened.token.encode() not in kept
    assert bytes.fromhex(opened.token) not in kept


def test_each_token_is_another(officer: Officer) -> None:
    tokens = {officer.open(f"party {number}").token for number in range(20)}
    assert len(tokens) == 20
    assert officer.open("by address", "192.0.2.1", token=False).token is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        " bank",
        "bank ",
        "=1+1",
        "-bank",
        "@bank",
        "_bank",
        "b" * 129,
        "bank\n",
        "bank\ttab",
        'bank"',
        "cafe\u0301",
        "../bank",
    ],
)
def test_a_name_that_would_mislead_is_refused(officer: Officer, name: str) -> None:
    with pytest.raises(InputRejected, match="name"):
        officer.open(name)
    assert officer.names == []
    assert officer.audited == []


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        (["203.0.113.1/24"], "host bits"),
        (["203.0.113.0/33"], "no network"),
        (["example.com"], "no network"),
        (["::ffff:203.0.113.0/120"], "written as IPv6"),
        (["203.0.113.0/24", "203.0.113.7"], "this account"),
        (["203.0.113.7", "203.0.113.7"], "this account"),
        ([f"203.0.{n // 256}.{n % 256}" for n in range(257)], "too many"),
    ],
)
def test_ranges_that_are_none_or_share_addresses_are_refused(
    officer: Officer, ranges: list[str], said: str
) -> None:
    with pytest.raises(InputRejected, match=said):
        officer.open("bank", *ranges)
    assert officer.names == []


def test_an_account_that_nothing_would_recognise_is_refused(officer: Officer) -> None:
    with pytest.raises(InputRejected, match="recognise"):
        officer.open("bank", token=False)
    for quota in (-1, 1 << 53):
        with pytest.raises(InputRejected, match="quota"):
            officer.open("bank", quota=quota)


def test_no_address_is_of_two_open_accounts(officer: Officer) -> None:
    officer.open("bank", "203.0.113.0/24")
    for taken in ("203.0.113.9", "203.0.0.0/16", "0.0.0.0/0"):
        with pytest.raises(InputRejected, match="account bank"):
            officer.open("post", taken)
    officer.open("post", "203.0.114.0/24", "::/0")
    officer.close("bank")
    officer.open("newspaper", "203.0.113.128/25")
    assert officer.names == ["newspaper", "post"]


def test_a_name_is_given_once(officer: Officer) -> None:
    officer.open("bank")
    with pytest.raises(InputRejected, match="of this name"):
        officer.open("bank")
    officer.clock.move(timedelta(days=1))
    officer.close("bank")
    with pytest.raises(InputRejected, match="of this name"):
        officer.open("bank")
    for name in ("bank", "nobody"):
        with pytest.raises(InputRejected, match="no open account"):
            officer.close(name)
    with officer.store.read() as connection:
        (account,) = all_accounts(connection)
    assert account.closed_at == officer.clock.now()
    assert [event for event, _ in officer.audited] == ["usage.account-opened", "usage.account-closed"]


def test_the_list_of_a_host_says_what_the_record_says(officer: Officer, tmp_path: Path) -> None:
    bank = officer.open("bank", quota=0)
    officer.open("tax office", "2001:db8::/32", token=False)
    officer.open("closed")
    officer.close("closed")
    path = tmp_path / "usage" / "accounts.json"
    with officer.store.read() as connection:
        write_account_list(path, open_accounts(connection))
    assert path.stat().st_mode & 0o077 == 0
    listed = [one.model_dump() for one in read_account_list(path)]
    digest = (bank.account.token_sha256 or b"").hex()
    assert listed == [
        {"name": "bank", "token_sha256": digest, "address_ranges": [], "monthly_quota": 0},
        {
            "name": "tax office",
            "token_sha256": None,
            "address_ranges": ["2001:db8::/32"],
            "monthly_quota": None,
        },
    ]
    assert read_account_list(tmp_path / "nowhere") == []
    with pytest.raises(InputRejected, match="cannot be read"):
        read_account_list(tmp_path)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), min_size=2, max_size=2))
def test_networks_overlap_where_they_share_an_address(drawn: list[tuple[int, int]]) -> None:
    one, other = (ip_network(f"192.0.2.{last}/{prefix}", strict=False) for last, prefix in drawn)
    shared = set(one) & set(other)
    assert (overlapping([one], [other]) is not None) == bool(shared)
    both: list[Network] = [ip_network("::/0"), other]
    assert (overlapping([one], both) is not None) == bool(shared)


def test_addresses_are_read_as_sockets_give_them() -> None:
    assert parse_address("192.0.2.7") == parse_address("::ffff:192.0.2.7") == ip_address("192.0.2.7")
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")
