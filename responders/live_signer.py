"""The live signer: a process that holds sessions with the OCSP key and answers what was not signed ahead.

    python -P -m responders.live_signer --home H

It stands on an inner host, parses every request itself and reads standings from a status store of its own: whoever may
connect may ask, and nothing else. The CA key is never opened here.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import trio

from engine.audit.digest_journal import LIVE_OCSP, DigestJournal, keep_recording
from engine.authority.back_off import BackOff
from engine.authority.observed import observe_pool
from engine.authority.ocsp_responders import ocsp_responders
from engine.authority.role_certificates import prove_key
from engine.authority.signing import open_pool, open_token_again
from engine.errors import HomeUnusable, SignerUnavailable, StoreError, TokenError
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import PoolExhausted
from engine.status.journalling import journalling
from engine.status.service import Service, run_service
from engine.status.status_store import StatusReader
from responders.live_signing.live_answers import LiveAnswers, Responder
from responders.live_signing.server import LiveSigningServer
from responders.live_signing.signing_queue import BATCH, SigningQueue
from responders.live_signing.streams import open_listeners
from responders.replacement import ToBeReplaced

LOCK = "live-signer"
PATIENCE_SECONDS = 20.0
"""How long a process looks for a token that it never found. A guess: starting a process costs a second of CPU."""

STORE_LOOK_SECONDS = 1.0
"""Between two looks for a status store that is not there yet, or for a new responder certificate. A guess."""


async def serve(service: Service) -> None:
    """Sign live answers until told to stop; what was asked by then is answered.

    While the token is away answers are tryLater, and it is looked for again and again; where that is in vain for
    longer, a new process looks, for many modules find a token only once they are loaded anew.

    Raises:
        ToBeReplaced: the token was away for `PATIENCE_SECONDS` at the start, sessions are stuck for good, or another
            responder certificate is in charge.
        TokenError: the token refuses for good.
        ConfigurationInvalid: there is no live signer in the settings, or its address cannot be listened at.
        HomeUnusable: another live signer is at work on this home.
    """
    context = service.context
    pin = await service.pin()
    with context.home.lock(LOCK, "signing OCSP answers"):
        async with journalling(service, LIVE_OCSP) as journal:
            opened = await _status_store(service)
            if opened is None:
                return
            reader, responders = opened
            try:
                ended = await _sign_patiently(service, pin, journal, reader, responders)
            except (SignerUnavailable, PoolExhausted) as error:
                ended = ToBeReplaced.because_of(error)
            finally:
                reader.close()
    if ended is not None:
        raise ended


async def _sign_patiently(
    service: Service, pin: Pin, journal: DigestJournal, reader: StatusReader, responders: list[Responder]
) -> TokenError | None:
    """As `_sign`; a token that is away is looked for again and again."""
    back_off, patience = BackOff(), trio.current_time() + PATIENCE_SECONDS
    while True:
        try:
            return await _sign(service, pin, journal, reader, responders)
        except SignerUnavailable as error:
            if trio.current_time() > patience:
                raise
            if back_off.attempts == 0:
                service.log.warning("waiting-for-token", error=type(error).__name__, message=str(error))
        await service.pause(back_off.next())
        if service.stop.is_set():
            return None


async def _sign(
    service: Service, pin: Pin, journal: DigestJournal, reader: StatusReader, responders: list[Responder]
) -> TokenError | None:
    """Open the keys of the responders and sign; return what ended it, None when told to stop."""
    home, configuration, clock = service.context.home, service.context.configuration, service.context.clock
    sessions = configuration.ocsp.live_sessions
    token = await trio.to_thread.run_sync(open_token_again, home, configuration)
    for responder in responders:
        await trio.to_thread.run_sync(prove_key, token, pin, responder.role)
    keys = [responder.key for responder in responders]
    async with open_pool(home, configuration, token, pin, keys, sessions, batch=BATCH * sessions) as pool:
        answers = LiveAnswers(reader, responders, configuration, clock)
        queue = SigningQueue(pool, journal, configuration.ocsp.live_waiting + pool.size)
        server = LiveSigningServer(answers, queue, journal, configuration.ocsp, service.log, service.metrics)
        with observe_pool(service.control, pool, service.context):
            await _run(service, server, answers, journal)
    if isinstance(server.ended, PoolExhausted):
        raise server.ended
    return server.ended


async def _status_store(service: Service) -> tuple[StatusReader, list[Responder]] | None:
    """Open the status store as soon as it is there and names a responder; None when told to stop before."""
    told = False
    while not service.stop.is_set():
        try:
            reader = StatusReader(Path(service.context.configuration.ocsp.status_store))
            responders = await trio.to_thread.run_sync(_responders, service, reader)
            if responders:
                return reader, responders
            reader.close()
            message = "no OCSP responder is in charge"
        except (HomeUnusable, StoreError) as error:
            message = str(error)
        if not told:
            service.log.warning("waiting-for-status-store", message=message)
            told = True
        await service.pause(STORE_LOOK_SECONDS)
    return None


def _responders(service: Service, reader: StatusReader) -> list[Responder]:
    """The responders that the store names as in charge, with the keys that the record names for them."""
    in_charge = {issuer.responder for issuer in reader.issuers}
    with service.context.store.read() as connection:
        issued = ocsp_responders(connection, service.context.authority.issuer.algorithm)
    return [Responder(one) for one in issued if one.role.certificate in in_charge]


async def _run(
    service: Service, server: LiveSigningServer, answers: LiveAnswers, journal: DigestJournal
) -> None:
    settings = service.context.configuration.ocsp
    listeners = await open_listeners(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_recording, journal, service.log)
        nursery.start_soon(_watch_responders, server, answers)
        nursery.start_soon(_stop, service, server)
        service.log.info("listening", address=settings.live_signer, sessions=settings.live_sessions)
        await server.serve(listeners)
        nursery.cancel_scope.cancel()


async def _stop(service: Service, server: LiveSigningServer) -> None:
    await service.stop.wait()
    server.stopping.set()


async def _watch_responders(server: LiveSigningServer, answers: LiveAnswers) -> None:
    while True:
        await trio.sleep(STORE_LOOK_SECONDS)
        with contextlib.suppress(StoreError):  # answers are tryLater meanwhile
            if answers.lacks_a_responder():
                rule = "a new process opens the keys of those in charge"
                server.end(ToBeReplaced("another OCSP responder is in charge", rule=rule))


if __name__ == "__main__":
    run_service("live-signer", serve)
