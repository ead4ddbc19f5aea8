"""OCSP over HTTP as one client of a metered listener gets it: its account is found, its answers are counted.

An answer counts when it says something about a certificate, or that what the client has still holds (304). What OCSP or
HTTP refuse, and tryLater, cost nothing. Without an account, over the quota, or with a token that is none, the answer is
`unauthorized` (decision 0026: what OCSP has a word for is said in OCSP).
"""

from __future__ import annotations

from engine.usage.address_ranges import Address
from responders.metering.account_book import AccountBook, Tally
from responders.metering.meter import Meter
from responders.ocsp_http import HttpAnswer, OcspHttp, is_billable, path_in

TOKEN_PATH = b"/t/"
"""What a path with a token begins with: `/t/TOKEN` and then the path as it is without. No base64 of a request does, for
those begin with M."""


class MeteredHttp:
    """What all clients of a process share.

    Args:
        http: answers those without an account, and is the measure for the others.
        meter: counts.
    """

    def __init__(self, http: OcspHttp, meter: Meter) -> None:
        self.meter = meter
        self.for_anybody = http
        self.for_accounts = http.for_one_party()

    def for_client(self, address: Address) -> MeteredClient:
        """Return what answers a client."""
        return MeteredClient(self, address)


class MeteredClient:
    """Answers one client.

    Args:
        shared: what all clients of the process share.
        address: of the client.
    """

    __slots__ = ("_address", "_book", "_meter", "_of_address", "_shared")

    def __init__(self, shared: MeteredHttp, address: Address) -> None:
        self._shared = shared
        self._meter = shared.meter
        self._address = address
        self._book: AccountBook | None = None
        self._of_address: Tally | None = None

    def at_once(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer | None:
        """As `OcspHttp.at_once`, counted."""
        target, tally, is_refused = self._account(target)
        if tally is None:
            http = self._shared.for_anybody
            if is_refused:
                return http.unauthorized(method, target, body)
            return http.at_once(method, target, body, if_none_match)
        if tally.left <= 0:
            return self._over_quota(tally, method, target, body)
        answer = self._shared.for_accounts.at_once(method, target, body, if_none_match)
        if answer is not None and is_billable(answer):
            tally.answers += 1
            tally.left -= 1
        return answer

    async def answer(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer:
        """As `OcspHttp.answer`, counted. Cancelled, nothing is counted."""
        target, tally, is_refused = self._account(target)
        if tally is None:
            http = self._shared.for_anybody
            if is_refused:
                return http.unauthorized(method, target, body)
            return await http.answer(method, target, body, if_none_match)
        if tally.left <= 0:
            return self._over_quota(tally, method, target, body)
        answer = await self._shared.for_accounts.answer(method, target, body, if_none_match)
        if is_billable(answer):
            tally.answers += 1
            tally.left -= 1
        return answer

    def refusal(self, status: int) -> HttpAnswer:
        """As `OcspHttp.refusal`."""
        return self._shared.for_anybody.refusal(status)

    def _account(self, target: bytes) -> tuple[bytes, Tally | None, bool]:
        """Return the target without its token, the account, and where there is none whether that is refused."""
        if not target.startswith(b"/"):
            target = path_in(target)  # absolute form (RFC 9112 section 3.2.2)
        book = self._meter.book
        if target.startswith(TOKEN_PATH):
            token, _, rest = target[len(TOKEN_PATH) :].partition(b"/")
            return b"/" + rest, book.of_token(token), True
        if book is not self._book:
            self._book = book
            self._of_address = book.of_address(self._address)
        return target, self._of_address, not self._meter.anonymous

    def _over_quota(self, tally: Tally, method: bytes, target: bytes, body: bytes) -> HttpAnswer:
        tally.refused += 1
        return self._shared.for_accounts.unauthorized(method, target, body)
