"""A unit at the token: until every item of it has a signature or an error of its own, however long the token is away.

The TBSs are stored, so they are signed again as they are. What is signed already is kept; only what is missing is
handed over again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from engine.algorithms import SignatureAlgorithm
from engine.authority.back_off import BackOff
from engine.errors import Overloaded, SignerUnavailable, TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane


class Signing(Protocol):
    """What a `SessionPool` does, as far as it is needed here."""

    @property
    def ended(self) -> TokenError | None:
        """Why it takes no more work for good, if so."""
        ...

    async def sign_many(
        self, messages: Sequence[bytes], *, key: KeyReference, algorithm: SignatureAlgorithm, lane: Lane
    ) -> list[bytes | TokenError]:
        """Sign messages; one outcome each."""
        ...


class UnitSigning:
    """Signs the items of units.

    Args:
        pool: the open pool.
        key: the CA's.
        algorithm: with what it signs.
        stopping: set when a token that is away is not to be waited for any longer.
        tell: told why nothing is signed at present, at each change; None when it is again.
    """

    def __init__(
        self,
        pool: Signing,
        key: KeyReference,
        algorithm: SignatureAlgorithm,
        stopping: trio.Event,
        tell: Callable[[str | None], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._key = key
        self._algorithm = algorithm
        self._stopping = stopping
        self._tell = tell
        self._told: str | None = None
        self.seconds_away = 0.0
        """How long units waited for the token to come back."""

    async def sign(self, tbs: Sequence[bytes]) -> list[bytes | TokenError] | None:
        """Return an outcome for each TBS; None if the token was away when it was time to stop.

        Raises:
            SignerFailed: the token refused for good; `PoolExhausted` if the process must be replaced.
        """
        outcomes: list[bytes | TokenError | None] = [None] * len(tbs)
        missing, most, back_off = list(range(len(tbs))), max(1, len(tbs)), BackOff()
        while missing:
            part = missing[:most]
            away = await self._hand_over(tbs, part, outcomes)
            left = [at for at in part if outcomes[at] is None]
            if len(left) < len(part):
                back_off.end()
            missing = left + missing[most:]
            if away is None:
                await self._say(None)
                continue
            if isinstance(away, Overloaded):  # a token so slow that not even one unit may wait for it
                most = max(1, len(part) // 2)
            if not await self._wait(away, back_off):
                return None
        return [one for one in outcomes if one is not None]

    async def _hand_over(
        self, tbs: Sequence[bytes], part: Sequence[int], outcomes: list[bytes | TokenError | None]
    ) -> SignerUnavailable | Overloaded | None:
        """Have some signed; return why not all of them have an outcome, None if they have."""
        try:
            signed = await self._pool.sign_many(
                [tbs[at] for at in part], key=self._key, algorithm=self._algorithm, lane=Lane.ISSUANCE
            )
        except (SignerUnavailable, Overloaded) as error:
            return error
        away = None
        for at, outcome in zip(part, signed, strict=True):
            if isinstance(outcome, SignerUnavailable):
                away = outcome
            elif isinstance(outcome, TokenError) and outcome is self._pool.ended:
                raise outcome  # of all that was not signed: no fault of the items
            else:
                outcomes[at] = outcome
        return away

    async def _wait(self, away: SignerUnavailable | Overloaded, back_off: BackOff) -> bool:
        """Leave the token alone for a while; False when it is time to stop."""
        if isinstance(away, SignerUnavailable):
            await self._say(str(away))
        began = trio.current_time()
        with trio.move_on_after(back_off.next()):
            await self._stopping.wait()
        self.seconds_away += trio.current_time() - began
        return not self._stopping.is_set()

    async def _say(self, reason: str | None) -> None:
        if reason != self._told:
            self._told = reason
            await self._tell(reason)
