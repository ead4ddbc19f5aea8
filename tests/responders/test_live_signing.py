"""Both ends of the way to the live signer, over real sockets: bounds, faults, and who gets which answer.

The token is scripted here; `test_live_signer.py` has the process with a real one.
"""

from __future__ import annotations

import hashlib
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from cryptography import x509
from cryptography.x509 import ocsp

from engine.audit.digest_journal import LIVE_OCSP, DigestJournal
from engine.clock import SetClock
from engine.config import OcspSection
from engine.errors import (
    ConfigurationInvalid,
    Overloaded,
    SignerFailed,
    SignerUnavailable,
    TokenError,
    the_sealmint_error,
)
from engine.status.status_store import CertificateStanding, StatusReader
from engine.store.database import Store
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.live_signing.client import ROOM_REGAINED, TRY_LATER, LiveSigner, open_live_signer
from responders.live_signing.frames import MAX_RESPONSE_OCTETS, NO_ROOM, Frames
from responders.live_signing.live_answers import LiveAnswers, Responder
from responders.live_signing.server import MAX_CONNECTIONS, LiveSigningServer
from responders.live_signing.signing_queue import BATCH, SigningQueue
from responders.live_signing.streams import open_listeners, open_stream
from responders.ocsp_request import MAX_REQUEST_OCTETS
from tests.judges.toy_authority import NOW
from tests.responders.ocsp_requests import certificate_id, nonce, request, single
from tests.responders.scripted_pool import ScriptedPool
from tests.responders.synthetic_status import GOOD, SyntheticStatus, configuration
from tests.responders.tls_files import make_ends

MALFORMED = error_response(ResponseStatus.MALFORMED_REQUEST)
INTERNAL_ERROR = error_response(ResponseStatus.INTERNAL_ERROR)


@dataclass
class Signing:
    """A live signer that runs in this process, and how to reach it."""

    status: SyntheticStatus
    settings: OcspSection
    pool: ScriptedPool
    journal: DigestJournal
    server: LiveSigningServer
    served: trio.Event

    def question(self, number: int) -> bytes:
        """A request that can only be answered live."""
        value = b"nonce %010d" % number
        return request(single(certificate_id(self.status.issuer, GOOD)), extensions=[nonce(value)])


@asynccontextmanager
async def signing(
    status: SyntheticStatus, store: Store, directory: Path, *, sessions: int = 2, **ocsp_settings: object
) -> AsyncIterator[Signing]:
    clock = SetClock(NOW)
    settings = configuration(**{"live_signer": str(directory / "run" / "live.socket")} | ocsp_settings)
    await trio.Path(directory).mkdir(exist_ok=True)
    pool = ScriptedPool(status.responder, sessions)
    journal = DigestJournal(LIVE_OCSP, directory, store, clock, "test")
    with StatusReader(status.directory) as reader:
        answers = LiveAnswers(reader, [Responder(status.issued_responder())], settings, clock)
        log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        queue = SigningQueue(pool, journal, settings.ocsp.live_waiting + pool.size)
        server = LiveSigningServer(answers, queue, journal, settings.ocsp, log)
        served = trio.Event()

        async def serve() -> None:
            await server.serve(listeners)
            served.set()

        async with trio.open_nursery() as nursery:
            listeners = await open_listeners(settings.ocsp)
            nursery.start_soon(serve)
            yield Signing(status, settings.ocsp, pool, journal, server, served)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(settings: OcspSection) -> AsyncIterator[LiveSigner]:
    async with open_live_signer(settings) as opened:
        assert opened is not None
        yield opened


@asynccontextmanager
async def raw(settings: OcspSection) -> AsyncIterator[Frames]:
    """A connection without the client's own bounds."""
    stream = await open_stream(settings)
    frames = Frames(stream, most_octets=MAX_RESPONSE_OCTETS, patience=100)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(frames.write)
        yield frames
        nursery.cancel_scope.cancel()


def nonce_in(response: bytes) -> bytes:
    extensions = ocsp.load_der_ocsp_response(response).extensions
    return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody; for tests whose clock jumps."""
    while not condition():  # noqa: ASYNC110 - no time passes
        await trio.sleep(0.01)


async def asked(signer: LiveSigner, question: bytes, into: dict[bytes, bytes]) -> None:
    into[question] = await signer.ask(question)


async def test_everyone_gets_the_own_answer_whatever_the_order(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    answers: dict[bytes, bytes] = {}
    async with (
        signing(synthetic_status, store, tmp_path, sessions=20) as live,
        client(live.settings) as signer,
    ):
        live.pool.holding = True
        questions = [live.question(number) for number in range(20)]
        async with trio.open_nursery() as nursery:
            for question in questions:
                nursery.start_soon(asked, signer, question, answers)
            await live.pool.until_held(len(questions))
            for one in reversed(live.pool.held):
                one.released.set()
                await trio.testing.wait_all_tasks_blocked()
    assert {question: nonce_in(answer) for question, answer in answers.items()} == {
        live.question(number): b"nonce %010d" % number for number in range(20)
    }


async def test_the_digest_is_in_the_journal_before_the_token_signs(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.pool.holding = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signer.ask, live.question(1))
            await live.pool.until_held(1)
            (journal,) = (tmp_path / "live-ocsp").glob("*.digests")
            assert journal.read_text() == f"{hashlib.sha256(live.pool.held[0].message).hexdigest()}\n"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("live_waiting", "signed_in_time"), [(3, 1_000), (1_000, 3)])
async def test_more_than_may_wait_get_try_later_at_once(
    live_waiting: int, signed_in_time: int, synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with (
        signing(synthetic_status, store, tmp_path, live_waiting=live_waiting) as live,
        raw(live.settings) as frames,
    ):
        live.pool.holding = True
        live.pool.signed_in_time = signed_in_time
        admitted = 3 + live.pool.size
        for number in range(admitted + 2):
            await frames.send(number, live.question(number))
        refused = [await frames.receive() for _ in range(2)]
        assert refused == [(admitted, NO_ROOM), (admitted + 1, NO_ROOM)]
        live.pool.release_all()
        answered = [await frames.receive() for _ in range(admitted)]
        assert sorted(number for number, _ in filter(None, answered)) == list(range(admitted))
        await frames.send(99, live.question(99))  # there is room again
        assert (await frames.receive() or (0, TRY_LATER))[1] != TRY_LATER


async def test_batches_grow_with_the_queue(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path, sessions=1) as live, raw(live.settings) as frames:
        live.pool.holding = True
        for number in range(12):
            await frames.send(number, live.question(number))
            await live.pool.until_held(min(number + 1, 2))  # one in the session, one before it
        await trio.testing.wait_all_tasks_blocked()
        live.pool.release_all()
        answers = dict([await frames.receive() or (0, b"") for _ in range(12)])
        assert {number: nonce_in(answer) for number, answer in answers.items()} == {
            number: b"nonce %010d" % number for number in range(12)
        }
        assert live.pool.batches[:4] == [1, 1, BATCH, BATCH]
        assert sum(live.pool.batches) == 12


async def test_who_gives_up_waiting_is_not_signed_for(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path, sessions=1) as live:
        live.pool.holding = True
        async with raw(live.settings) as frames:
            for number in range(6):
                await frames.send(number, live.question(number))
                await live.pool.until_held(min(number + 1, 2))
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()  # the connection is gone
        live.pool.release_all()
        await trio.testing.wait_all_tasks_blocked()
        assert len(live.pool.signed) == 2
        (journal,) = (tmp_path / "live-ocsp").glob("*.digests")
        assert len(journal.read_text().splitlines()) == 2


async def test_a_client_asks_no_more_than_may_wait(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with (
        signing(synthetic_status, store, tmp_path, live_waiting=2) as live,
        client(live.settings) as signer,
        trio.open_nursery() as nursery,
    ):
        live.pool.holding = True
        for number in range(2):
            nursery.start_soon(signer.ask, live.question(number))
        await live.pool.until_held(2)
        assert await signer.ask(live.question(3)) == TRY_LATER
        assert len(live.pool.held) == 2
        nursery.cancel_scope.cancel()


async def test_what_the_signer_had_no_room_for_is_not_asked_again_until_it_answers(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    answers: dict[bytes, bytes] = {}
    async with (
        signing(synthetic_status, store, tmp_path, live_waiting=2) as live,
        raw(live.settings) as other,
        client(live.settings.model_copy(update={"live_waiting": 100})) as signer,
    ):
        live.pool.holding = True
        for number in range(2):  # two of the four places
            await other.send(number, live.question(number))
        await live.pool.until_held(2)
        async with trio.open_nursery() as nursery:
            for number in range(2, 4):
                nursery.start_soon(asked, signer, live.question(number), answers)
            await trio.testing.wait_all_tasks_blocked()
            assert await signer.ask(live.question(4)) == TRY_LATER  # on the signer's word
            with trio.testing.assert_no_checkpoints():
                for number in range(5, 9):
                    assert await signer.ask(live.question(number)) == TRY_LATER  # without asking
            live.pool.release_all()
        assert len(answers) == 2
        assert TRY_LATER not in answers.values()
        assert await signer.ask(live.question(9)) != TRY_LATER


async def test_room_that_others_gave_back_is_found_again(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with (
        signing(synthetic_status, store, tmp_path, live_waiting=2) as live,
        raw(live.settings) as other,
        client(live.settings.model_copy(update={"live_waiting": 100})) as signer,
    ):
        live.pool.holding = True
        for number in range(5):
            await other.send(number, live.question(number))
        assert await other.receive() == (4, NO_ROOM)
        assert await signer.ask(live.question(5)) == TRY_LATER
        live.pool.release_all()
        for _ in range(4):
            assert await other.receive() is not None
        for number in range(
            10, 10 + round(1 / ROOM_REGAINED)
        ):  # one at a time; all together they are worth one more
            assert await signer.ask(live.question(number)) != TRY_LATER
        answers: dict[bytes, bytes] = {}
        async with trio.open_nursery() as nursery:
            for number in range(30, 32):
                nursery.start_soon(asked, signer, live.question(number), answers)
        assert TRY_LATER not in answers.values()


async def test_a_slow_token_means_try_later_in_time(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        signing(synthetic_status, store, tmp_path, live_timeout=5.0) as live,
        client(live.settings) as signer,
    ):
        live.pool.holding = True
        before = trio.current_time()
        assert await signer.ask(live.question(1)) == TRY_LATER
        assert trio.current_time() - before == pytest.approx(4.0, abs=0.01)  # the signer's share of the time
        assert signer.is_connected
        live.pool.holding = False
        assert nonce_in(await signer.ask(live.question(2))) == b"nonce 0000000002"


async def test_a_signer_that_says_nothing_is_given_up_and_reached_anew(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    settings = configuration(live_signer=str(tmp_path / "run" / "s"), live_timeout=5.0).ocsp
    connections: list[trio.abc.Stream] = []

    async def say_nothing(stream: trio.abc.Stream) -> None:
        connections.append(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await open_listeners(settings)
        nursery.start_soon(trio.serve_listeners, say_nothing, list(listeners))
        async with client(settings) as signer:
            before = trio.current_time()
            assert await signer.ask(b"anything") == TRY_LATER
            assert trio.current_time() - before == pytest.approx(5.0, abs=0.01)
            await until(lambda: len(connections) == 2)
        nursery.cancel_scope.cancel()


async def test_without_a_signer_the_answer_is_try_later_at_once_and_later_it_is_found(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    settings = configuration(live_signer=str(tmp_path / "run" / "live.socket")).ocsp
    async with client(settings) as signer:
        before = trio.current_time()
        assert await signer.ask(b"anything") == TRY_LATER
        assert trio.current_time() == before
        for process in ("first", "second"):
            place = settings.live_signer
            async with signing(synthetic_status, store, tmp_path / process, live_signer=place) as live:
                await until(lambda: signer.is_connected)
                assert nonce_in(await signer.ask(live.question(1)))
            await until(lambda: not signer.is_connected)
            assert await signer.ask(live.question(2)) == TRY_LATER


async def test_whoever_waits_when_the_connection_breaks_gets_try_later_at_once(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    answers: dict[bytes, bytes] = {}
    settings = configuration(live_signer=str(tmp_path / "run" / "live.socket")).ocsp
    async with client(settings) as signer, trio.open_nursery() as nursery:
        async with signing(synthetic_status, store, tmp_path) as live:
            await until(lambda: signer.is_connected)
            live.pool.holding = True
            nursery.start_soon(asked, signer, live.question(1), answers)
            await live.pool.until_held(1)
            before = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == {live.question(1): TRY_LATER}
        assert trio.current_time() == before


@pytest.mark.parametrize(
    "refusal", [SignerUnavailable("away"), Overloaded("full"), SignerFailed("odd message")]
)
async def test_what_the_token_does_not_sign_now_is_try_later(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path, refusal: TokenError
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.pool.refusal = refusal
        assert await signer.ask(live.question(1)) == TRY_LATER
        live.pool.refusal, live.pool.outcome = None, SignerUnavailable("went away")
        assert await signer.ask(live.question(1)) == TRY_LATER
        live.pool.outcome = None
        assert nonce_in(await signer.ask(live.question(1)))
        assert live.server.ended is None


async def test_a_pool_that_has_ended_ends_the_server(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.pool.ended = live.pool.refusal = SignerFailed("for good")
        assert await signer.ask(live.question(1)) == TRY_LATER
        await live.served.wait()
        assert live.server.ended is live.pool.ended


async def test_a_signature_that_does_not_verify_does_not_go_out(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.pool.outcome = bytes(256)
        assert await signer.ask(live.question(1)) == INTERNAL_ERROR


@pytest.mark.parametrize("state", [CertificateState.HELD, CertificateState.REVOKED])
async def test_a_good_that_a_change_overtook_while_the_token_signed_does_not_go_out(
    synthetic_status: SyntheticStatus,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: CertificateState,
) -> None:
    began = int(NOW.timestamp())
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.pool.holding = True
        answers: dict[bytes, bytes] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked, signer, live.question(1), answers)
            await live.pool.until_held(1)
            changed = CertificateStanding(state, began, 6, began + 1)
            monkeypatch.setattr(StatusReader, "standing", lambda *asked: changed)
            live.pool.release_all()
        assert answers == {live.question(1): TRY_LATER}
        said = ocsp.load_der_ocsp_response(await signer.ask(live.question(2)))
        assert said.certificate_status is ocsp.OCSPCertStatus.REVOKED


async def test_while_audit_cannot_write_nothing_is_signed(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live, client(live.settings) as signer:
        live.journal.can_sign = False
        assert await signer.ask(live.question(1)) == TRY_LATER
        assert not live.pool.signed
        live.journal.can_sign = True
        assert nonce_in(await signer.ask(live.question(1)))


async def test_what_was_asked_before_the_stop_is_answered(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    answers: dict[bytes, bytes] = {}
    async with (
        signing(synthetic_status, store, tmp_path) as live,
        client(live.settings) as signer,
        trio.open_nursery() as nursery,
    ):
        live.pool.holding = True
        nursery.start_soon(asked, signer, live.question(1), answers)
        await live.pool.until_held(1)
        live.server.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not live.served.is_set()
        live.pool.held[0].released.set()
        await live.served.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert nonce_in(answers[live.question(1)]) == b"nonce 0000000001"
        nursery.cancel_scope.cancel()


async def test_the_signer_trusts_nobody(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live:
        async with raw(live.settings) as frames:
            for number, octets in enumerate([b"", b"\x30\x00", bytes(MAX_REQUEST_OCTETS)]):
                await frames.send(number, octets)
                assert await frames.receive() == (number, MALFORMED)
        with pytest.raises(ExceptionGroup) as broken:
            async with raw(live.settings) as frames:
                await frames.send(1, bytes(MAX_REQUEST_OCTETS + 1))
                while await frames.receive() is not None:
                    pass
                raise trio.BrokenResourceError("closed")
        assert broken.group_contains(trio.BrokenResourceError)
        async with client(live.settings) as signer:
            assert nonce_in(await signer.ask(live.question(1)))


async def test_who_does_not_read_is_cut_off(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live:
        stream = await open_stream(live.settings)
        frame = bytes(4) + (2).to_bytes(4, "big") + b"\x30\x00"
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(frame * 10_000)
        await trio.aclose_forcefully(stream)
        async with client(live.settings) as signer:
            assert nonce_in(await signer.ask(live.question(1)))


async def test_the_number_of_connections_is_bounded(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    async with signing(synthetic_status, store, tmp_path) as live:
        streams = [await open_stream(live.settings) for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        one_more = await open_stream(live.settings)
        assert await one_more.receive_some(1) == b""
        for stream in (*streams, one_more):
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with client(live.settings) as signer:
            assert nonce_in(await signer.ask(live.question(1)))


async def test_the_socket_is_the_owner_s_only_and_its_path_may_be_long(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "live.socket"
    async with signing(synthetic_status, store, tmp_path, live_signer=str(path)) as live:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        async with client(live.settings) as signer:
            assert nonce_in(await signer.ask(live.question(1)))


async def test_a_socket_in_a_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    await trio.Path(tmp_path).chmod(0o750)
    with pytest.raises(ConfigurationInvalid, match="mode 0700"):
        await open_listeners(configuration(live_signer=str(tmp_path / "socket")).ocsp)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_over_tls_with_certificates_at_both_ends(
    synthetic_status: SyntheticStatus, store: Store, tmp_path: Path
) -> None:
    signer_end, responder_end = make_ends(tmp_path / "tls")
    foreign_end = make_ends(tmp_path / "foreign")[1]
    address = f"tls://127.0.0.1:{free_port()}"
    here: dict[str, Any] = {"live_signer": address} | signer_end.settings
    async with signing(synthetic_status, store, tmp_path, **here) as live:
        there = configuration(live_signer=address, **responder_end.settings).ocsp
        async with client(there) as signer:
            assert nonce_in(await signer.ask(live.question(1))) == b"nonce 0000000001"
        for settings in (
            {
                **responder_end.settings,
                "live_tls_ca": str(foreign_end.authority),
            },  # does not trust the signer
            {**foreign_end.settings, "live_tls_ca": str(responder_end.authority)},  # is not trusted
        ):
            async with client(configuration(live_signer=address, **settings).ocsp) as signer:
                assert await signer.ask(live.question(2)) == TRY_LATER
        assert len(live.pool.signed) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"live_signer": "tls://127.0.0.1:1"},
        {"live_signer": "tls://127.0.0.1"},
        {"live_signer": "tls://:1"},
        {"live_signer": "tls://127.0.0.1:port"},
        {
            "live_signer": "tls://127.0.0.1:1",
            "live_tls_certificate": "/no",
            "live_tls_key": "/no",
            "live_tls_ca": "/no",
        },
    ],
)
async def test_wrong_settings_of_tls_are_named(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationInvalid):
        await open_stream(configuration(**settings).ocsp)
    with pytest.raises(ConfigurationInvalid):
        await open_listeners(configuration(**settings).ocsp)
    with pytest.raises(ExceptionGroup) as raised:
        async with open_live_signer(configuration(**settings).ocsp):
            await trio.sleep_forever()
    assert isinstance(the_sealmint_error(raised.value), ConfigurationInvalid)


async def test_no_live_signer_is_configured() -> None:
    async with open_live_signer(configuration(live_signer=None).ocsp) as signer:
        assert signer is None
