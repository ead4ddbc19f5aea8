"""Accounts of relying parties that pay for OCSP (CPS 2.5.2, 4.4.12): opened and closed, on the record.

A relying party is recognised by a token in the path of its requests, or by the address they come from. The token is
shown once, when it is made; what is kept is its SHA-256, which suffices to recognise 128 random bits and to nobody
else. No address belongs to two open accounts, so an answer is never owed by the wrong one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.errors import InputRejected
from engine.store.database import Store
from engine.store.relying_party_accounts import (
    RelyingPartyAccount,
    all_accounts,
    insert_account,
    mark_closed,
)
from engine.usage.address_ranges import Network, overlapping, parse_network

TOKEN_OCTETS = 16
"""128 random bits: not to be guessed over the network."""

MOST_RANGES = 256
"""Of one account. A guess: an organisation's networks, each named."""

_NAME = re.compile(r"[^\W_][\w .()&,-]{0,127}")
"""As long as its column. The first is a letter or digit: no spreadsheet takes the report's cell for a formula."""


@dataclass(frozen=True, slots=True)
class OpenedAccount:
    """A new account.

    Attributes:
        account: as it is on record.
        token: to be told to the relying party now, for it is kept nowhere; None where it has none.
    """

    account: RelyingPartyAccount
    token: str | None


def token_digest(token: bytes) -> bytes:
    """Return what is kept of a token: SHA-256 over its hexadecimal digits, as they stand in the path."""
    return hashlib.sha256(token).digest()


def open_account(
    store: Store,
    clock: Clock,
    actor: str,
    *,
    name: str,
    address_ranges: Sequence[str],
    monthly_quota: int | None,
    with_token: bool,
) -> OpenedAccount:
    """Open an account; recorded in the audit log in the same transaction.

    Args:
        store: the record.
        clock: tells the time.
        actor: who opens it.
        name: of the relying party.
        address_ranges: networks whose requests are theirs.
        monthly_quota: answers in a calendar month of Taipei, on each public host; None: no limit.
        with_token: whether it gets a path token.

    Raises:
        InputRejected: the name is taken or none; nothing recognises the account; a network is none, or shares an
            address with another of this or of an open account.
    """
    networks = _checked(name, address_ranges, monthly_quota, with_token)
    token = secrets.token_hex(TOKEN_OCTETS) if with_token else None
    with store.write() as connection:
        _refuse_what_is_taken(name, networks, all_accounts(connection))
        account = RelyingPartyAccount(
            name=name,
            token_sha256=None if token is None else token_digest(token.encode()),
            address_ranges=tuple(map(str, networks)),
            monthly_quota=monthly_quota,
            opened_at=clock.now(),
        )
        insert_account(connection, account)
        body = {"account": name, "address_ranges": account.address_ranges, "monthly_quota": monthly_quota}
        body["token"] = with_token
        append_record(connection, clock, Event.USAGE_ACCOUNT_OPENED, actor=actor, body=body)
    return OpenedAccount(account, token)


def close_account(store: Store, clock: Clock, actor: str, name: str) -> None:
    """Close an account: its token is void and its addresses are free; recorded in the audit log.

    Raises:
        InputRejected: there is no open account of that name.
    """
    with store.write() as connection:
        if not mark_closed(connection, name, clock.now()):
            raise InputRejected("there is no open account of this name", place="account", value=name)
        body = {"account": name}
        append_record(connection, clock, Event.USAGE_ACCOUNT_CLOSED, actor=actor, body=body)


def _checked(name: str, ranges: Sequence[str], monthly_quota: int | None, with_token: bool) -> list[Network]:
    if not _NAME.fullmatch(name) or name != unicodedata.normalize("NFC", name) or name.endswith(" "):
        rule = "1 to 128 letters, digits, spaces and . ( ) & , - _, the first a letter or digit; NFC"
        raise InputRejected("this cannot be the name of an account", place="name", value=name, rule=rule)
    if monthly_quota is not None and not 0 <= monthly_quota < 1 << 53:  # what JSON carries everywhere
        raise InputRejected("the quota is out of range", place="monthly quota", value=monthly_quota)
    if not with_token and not ranges:
        rule = "a path token, address ranges, or both"
        raise InputRejected("nothing would recognise this account", place="address ranges", rule=rule)
    if len(ranges) > MOST_RANGES:
        rule = f"at most {MOST_RANGES}"
        raise InputRejected("too many address ranges", place="address ranges", value=len(ranges), rule=rule)
    networks: list[Network] = []
    for text in ranges:
        network = parse_network(text, "address range")
        _refuse_shared([network], networks, "this account")
        networks.append(network)
    return networks


def _refuse_what_is_taken(
    name: str, networks: Sequence[Network], accounts: Sequence[RelyingPartyAccount]
) -> None:
    if any(account.name == name for account in accounts):
        rule = "a name is given once: reports of past months name it"
        raise InputRejected(
            "there is an account of this name, or was one", place="name", value=name, rule=rule
        )
    for account in accounts:
        if account.closed_at is None:
            theirs = [parse_network(text, f"account {account.name}") for text in account.address_ranges]
            _refuse_shared(networks, theirs, f"account {account.name}")


def _refuse_shared(networks: Sequence[Network], others: Sequence[Network], whose: str) -> None:
    shared = overlapping(networks, others)
    if shared is not None:
        rule = f"{shared[1]} of {whose} shares addresses with it; an address belongs to one network"
        raise InputRejected("this network is taken", place="address range", value=str(shared[0]), rule=rule)
