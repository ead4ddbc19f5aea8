"""The token watch: a process that looks at every key of the authority now and then, and says how it found them.

    python -P -m engine.status.token_watch --home H

What it found can be asked for at its control socket (verb "token-health"); a change is told in the log. It changes
nothing: who signs finds out by himself, and waits by himself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

import trio

from engine.audit.digest_journal import KEY_TEST, DigestJournal, keep_recording
from engine.authority.back_off import BackOff
from engine.authority.key_health import KeyHealth, WatchedKey, prove_by_signature, watched_keys
from engine.authority.observed import observe_pool
from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_pool, open_token_again
from engine.errors import KeyMismatch, SealmintError, SignerFailed, SignerUnavailable, StoreError
from engine.metrics.catalogue import TOKEN_TEST_DURATION, TOKEN_TEST_SUCCESS
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import SessionPool
from engine.pkcs11.token import Token
from engine.status.journalling import journalling
from engine.status.service import Service, run_service

LOCK = "token-watch"


class TokenWatch:
    """Looks at keys and remembers what it found.

    Args:
        service: the process it runs in.
        journal: accounts for test signatures; the home's lock for it is held.
        pin: the token's PIN.
    """

    def __init__(self, service: Service, journal: DigestJournal, pin: Pin) -> None:
        service.metrics.declare(TOKEN_TEST_DURATION, TOKEN_TEST_SUCCESS)
        self._service = service
        self._context = service.context
        self._journal = journal
        self._pin = pin
        self._found: dict[str, KeyHealth] = {}
        self._back_off = BackOff()

    async def health(self, _: Any) -> dict[str, Any]:
        """Answer the verb: what was found of each key; nothing of a key that was not looked at yet."""
        return {"keys": [found.document() for found in self._found.values()]}

    async def run(self) -> None:
        """Look until told to stop.

        Raises:
            SignerFailed: the token refused for good: a wrong PIN, a missing mechanism. Nothing is tried twice.
            PoolExhausted: the process is to be replaced.
        """
        while not self._service.stop.is_set():
            keys = []
            try:
                keys = await trio.to_thread.run_sync(watched_keys, self._context)
                self._found = {key.label: found for key in keys if (found := self._found.get(key.label))}
                await self._on_token(keys)
            except (SignerUnavailable, StoreError) as error:
                for key in keys:
                    self._note(key, 0.0, error)
                await self._pause()

    async def _on_token(self, keys: list[WatchedKey]) -> None:
        """Open what there is and look at it, until the keys in use are others or one is missing."""
        home, configuration = self._context.home, self._context.configuration
        token = await trio.to_thread.run_sync(open_token_again, home, configuration)
        there = [key for key in keys if await self._prove(token, key)]
        signing = [key.role.key for key in there if key.algorithm is not None]
        if not signing:
            await self._pause()
            return
        async with open_pool(home, configuration, token, self._pin, signing, 1) as pool:
            with observe_pool(self._service.control, pool, self._context):
                while not self._service.stop.is_set():
                    await self._look(token, pool, there)
                    await self._pause()
                    now_used = await trio.to_thread.run_sync(watched_keys, self._context)
                    if there != now_used:
                        return

    async def _look(self, token: Token, pool: SessionPool, keys: list[WatchedKey]) -> None:
        """Look at those that sign, and only where the log-in stands by that at the one that does not."""
        logged_in = False
        for key in sorted(keys, key=lambda key: key.algorithm is None):
            algorithm = key.algorithm
            if algorithm is not None:
                now = self._context.clock.now()
                proof = partial(prove_by_signature, key, algorithm, pool, self._journal, now)
                logged_in |= await self._timed(key, proof)
            elif logged_in:
                await self._prove(token, key)
            else:
                away = SignerUnavailable("not looked at: no other key signs", place=f"token {token.label}")
                self._note(key, 0.0, away)
            if pool.ended is not None:
                raise pool.ended

    async def _prove(self, token: Token, key: WatchedKey) -> bool:
        """Look a key up, without a signature; whether it is the one of its certificate."""
        proof = partial(trio.to_thread.run_sync, prove_key, token, self._pin, key.role)
        return await self._timed(key, proof, lookup=True)

    async def _timed(
        self, key: WatchedKey, proof: Callable[[], Awaitable[None]], *, lookup: bool = False
    ) -> bool:
        """Note what came of a proof; a look-up that finds no token raises, for then there is nothing to look at."""
        began = perf_counter()
        try:
            await proof()
        except SealmintError as error:
            if isinstance(error, SignerFailed) and not isinstance(error, KeyMismatch):
                self._note(key, perf_counter() - began, error)
                raise
            if lookup and not isinstance(error, KeyMismatch):
                raise
            self._note(key, perf_counter() - began, error)
            return False
        if not lookup or key.algorithm is None:  # what signs is well only when it has signed
            self._note(key, perf_counter() - began, None)
        return True

    def _note(self, key: WatchedKey, seconds: float, error: SealmintError | None) -> None:
        before = self._found.get(key.label)
        metrics, outcome = self._service.metrics, "good" if error is None else "failed"
        metrics.histogram(TOKEN_TEST_DURATION, key=key.label, outcome=outcome).observe(seconds)
        if error is None:
            now = self._context.clock.now()
            self._found[key.label] = KeyHealth(key.label, True, now, seconds * 1e3)
            metrics.gauge(TOKEN_TEST_SUCCESS, key=key.label).set(now.timestamp())
            if before is None or not before.healthy:
                self._service.log.info("key-well", key=key.label)
        else:
            last = None if before is None else before.last_ok_at
            self._found[key.label] = KeyHealth(key.label, False, last, None, str(error))
            if before is None or before.healthy:
                self._service.log.error(
                    "key-not-well", key=key.label, error=type(error).__name__, message=str(error)
                )

    async def _pause(self) -> None:
        """Wait for the next look: soon, where something is wrong, so that it is known when it is well again."""
        seconds = self._context.configuration.token.health_seconds
        if all(found.healthy for found in self._found.values()) and self._found:
            self._back_off.end()
        else:
            seconds = min(seconds, self._back_off.next())
        await self._service.pause(seconds)


async def serve(service: Service) -> None:
    """Look at the keys until told to stop; not at all where `[token].health_seconds` is 0.

    Raises:
        HomeUnusable: another watch is at work on this home.
        SignerFailed: the token refused for good.
    """
    context = service.context
    if context.configuration.token.health_seconds == 0:
        await service.stop.wait()
        return
    pin = await service.pin()
    with context.home.lock(LOCK, "looking at the keys"):
        async with journalling(service, KEY_TEST) as journal, trio.open_nursery() as nursery:
            watch = TokenWatch(service, journal, pin)
            service.control.handle("token-health", watch.health)
            nursery.start_soon(keep_recording, journal, service.log)
            await watch.run()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run_service("token-watch", serve)
