"""The open accounts as a listener process knows them: found by token or by address, each with its counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import ip_network

from engine.usage.account_list import ListedAccount
from engine.usage.accounts import token_digest
from engine.usage.address_ranges import Address

NO_QUOTA = 1 << 62
"""What is left of no quota: more than will ever be asked."""


class Tally:
    """What one account asked of this process.

    Attributes:
        account: its name.
        quota: answers in a month; NO_QUOTA: no limit.
        left: how many of them may still be given, as far as this process knows.
        answers: given and not yet taken to be written.
        refused: requests over the quota, not yet taken.
        in_flight: answers taken to be written, and not yet read back from the spool.
    """

    __slots__ = ("account", "answers", "in_flight", "left", "quota", "refused")

    def __init__(self, account: str) -> None:
        self.account = account
        self.quota = NO_QUOTA
        self.left = 0
        self.answers = self.refused = self.in_flight = 0


class AccountBook:
    """Finds accounts.

    Args:
        accounts: those that are open.
        tallies: the counts by name, kept from one book to the next; those of new accounts are added.
    """

    def __init__(self, accounts: Iterable[ListedAccount], tallies: dict[str, Tally]) -> None:
        self._by_digest: dict[bytes, Tally] = {}
        by_range: dict[tuple[int, int], dict[int, Tally]] = defaultdict(dict)
        for account in accounts:
            tally = tallies.setdefault(account.name, Tally(account.name))
            tally.quota = NO_QUOTA if account.monthly_quota is None else account.monthly_quota
            if account.token_sha256 is not None:
                self._by_digest[bytes.fromhex(account.token_sha256)] = tally
            for text in account.address_ranges:
                network = ip_network(text)
                host_bits = network.max_prefixlen - network.prefixlen
                by_range[network.version, host_bits][int(network.network_address) >> host_bits] = tally
        self._by_range = [(*key, by_range[key]) for key in sorted(by_range)]  # the longest prefixes first

    def of_token(self, token: bytes) -> Tally | None:
        """Return the account with a token, as it stands in the path."""
        return self._by_digest.get(token_digest(token))

    def of_address(self, address: Address) -> Tally | None:
        """Return the account with the longest range that an address is in."""
        number = int(address)
        for version, host_bits, tallies in self._by_range:
            if version == address.version and (tally := tallies.get(number >> host_bits)) is not None:
                return tally
        return None
