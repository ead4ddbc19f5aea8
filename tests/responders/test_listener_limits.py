"""The fast listener under clients that are slow, many, or in the way of a stop; small limits stand for large ones."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import replace

import pytest
import trio

from engine.x509 import der
from responders import ocsp_listener
from responders.ocsp_answer import OcspAnswer
from tests.responders.listener_client import LIMITS, RunningListener, chunked, get, post, running
from tests.responders.stand_ins import LIVE, ScriptedResponder, http_over

REQUEST = der.sequence(b"a request")
ANSWER = b"answer to " + REQUEST
SOON = 0.05
"""Seconds that stand for a limit; the tests wait for the listener to act, however long that takes."""


async def test_an_idle_connection_is_ended_politely() -> None:
    async with running(http_over(ScriptedResponder()), replace(LIMITS, idle_seconds=SOON)) as listener:
        fresh, used = await listener.connect(), await listener.connect()
        assert (await used.ask(post(REQUEST))).body == ANSWER
        assert await fresh.is_closed()
        assert await used.is_closed()
        await used.send(post(REQUEST))  # crossed on the way: not heard, but no reset either
        assert await used.is_closed()


@pytest.mark.parametrize(
    "octets", [get(b"/MFEw")[:12], get(b"/")[:-1], post(REQUEST)[:-1], chunked(REQUEST)[:-4]]
)
async def test_a_slow_sender_is_told_and_ended(octets: bytes) -> None:
    """However slowly octets come, the time is that of the whole request."""
    async with running(http_over(ScriptedResponder()), replace(LIMITS, request_seconds=SOON)) as listener:
        client = await listener.connect()
        await client.send(post(REQUEST) + octets)
        assert (await client.answer()).body == ANSWER
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await client.is_closed()


async def test_trickling_does_not_prolong_the_time_of_a_request() -> None:
    async with running(http_over(ScriptedResponder()), replace(LIMITS, request_seconds=SOON)) as listener:
        client = await listener.connect()

        async def trickle() -> None:
            await client.send(b"GET /")
            while True:
                await client.send(b"M")
                await trio.sleep(SOON / 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert (await client.answer()).status == 408
            nursery.cancel_scope.cancel()


async def test_empty_lines_are_no_request() -> None:
    async with running(http_over(ScriptedResponder()), replace(LIMITS, idle_seconds=SOON)) as listener:
        client = await listener.connect()

        async def send_nothing() -> None:
            while True:
                await client.send(b"\r\n")
                await trio.sleep(SOON / 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_nothing)
            assert await client.is_closed()
            nursery.cancel_scope.cancel()


async def test_a_client_that_takes_no_answer_is_cut_off() -> None:
    large = OcspAnswer(bytes(1_000_000), None)
    responder = ScriptedResponder(lambda _: large)
    async with running(http_over(responder), replace(LIMITS, request_seconds=SOON)) as listener:
        client = await listener.connect()
        await client.send(post(REQUEST) * 50)
        while listener.listener.connections:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert len(responder.asked) < 50


async def test_more_connections_than_allowed_are_refused_at_once() -> None:
    async with running(http_over(ScriptedResponder()), replace(LIMITS, connections=3)) as listener:
        clients = [await listener.connect() for _ in range(3)]
        for client in clients:
            assert (await client.ask(post(REQUEST))).body == ANSWER
        for _ in range(20):
            refused = await (await listener.connect()).answer()
            assert (refused.status, refused.headers["connection"]) == (503, "close")
            assert refused.headers["retry-after"] == "1"
        assert (await clients[0].ask(post(REQUEST))).body == ANSWER
        await clients[1].stream.aclose()
        while len(listener.listener.connections) == 3:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert (await listener.ask(post(REQUEST))).body == ANSWER


async def test_a_stop_finishes_what_is_in_hand() -> None:
    responder = ScriptedResponder()
    async with running(http_over(responder)) as listener:
        waiting, half, idle = [await listener.connect() for _ in range(3)]
        await waiting.send(post(LIVE))
        await responder.waiting.wait()
        await half.send(post(REQUEST)[:-3])
        assert (await idle.ask(post(REQUEST))).body == ANSWER
        listener.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await half.send(post(REQUEST)[-3:])
        responder.let_go.set()
        for client, body in ((waiting, b"live answer to " + LIVE), (half, ANSWER)):
            answer = await client.answer()
            assert (answer.body, answer.headers["connection"]) == (body, "close")
            assert await client.is_closed()
            await client.stream.aclose()
        assert await idle.is_closed()
        await idle.stream.aclose()
        await listener.ended.wait()
        assert len(listener.listener.connections) == 0


async def test_a_request_that_crosses_the_stop_is_answered() -> None:
    async with running(http_over(ScriptedResponder())) as listener:
        client = await listener.connect()
        assert (await client.ask(post(REQUEST))).body == ANSWER
        listener.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        await client.send(post(b"first") + post(b"second"))
        first, second = await client.answer(), await client.answer()
        assert "connection" not in first.headers
        assert second.headers["connection"] == "close"
        assert await client.is_closed()


async def test_whoever_stays_is_cut_off_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocsp_listener, "STOPPING_SECONDS", SOON)
    responder = ScriptedResponder()
    async with running(http_over(responder)) as listener:
        client = await listener.connect()
        await client.send(post(LIVE))
        await responder.waiting.wait()
        listener.stop.set()
        await listener.ended.wait()
        assert len(listener.listener.connections) == 0


async def test_connections_that_wait_outlive_a_listener() -> None:
    """The socket stays open: whoever was not accepted by the one is by the next."""
    async with running(http_over(ScriptedResponder())) as first:
        first.stop.set()
        await first.ended.wait()
        waiting = [await first.connect() for _ in range(5)]
        for client in waiting:
            await client.send(post(REQUEST))
        second = RunningListener(http_over(ScriptedResponder()), listening=first.socket)
        async with trio.open_nursery() as nursery:
            await nursery.start(second.serve)
            for client in waiting:
                assert (await client.answer()).body == ANSWER
            nursery.cancel_scope.cancel()


async def test_listeners_take_turns_under_load_without_a_reset() -> None:
    """A planned restart: the next one accepts before the one before stops; clients reconnect when they are told to."""
    responder = ScriptedResponder()
    async with running(http_over(responder)) as first:
        answered = 0
        done = trio.Event()

        async def keep_asking() -> None:
            nonlocal answered
            while not done.is_set():
                client = await first.connect()
                while not done.is_set():
                    answer = await client.ask(post(REQUEST))  # no reset, and no end in the middle
                    assert answer.body == ANSWER
                    answered += 1
                    if answer.headers.get("connection") == "close":
                        break
                await client.stream.aclose()

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(keep_asking)
            current, successors = first, list[RunningListener]()
            for _ in range(4):
                successor = RunningListener(http_over(responder), listening=first.socket.dup())
                successors.append(successor)
                await nursery.start(successor.serve)
                current.stop.set()
                await current.ended.wait()
                current, before = successor, answered
                while answered < before + 100:
                    await trio.lowlevel.checkpoint()
            done.set()
            current.stop.set()
        for successor in successors:
            successor.close()
    assert answered >= 400


async def test_no_descriptors_left_is_no_end() -> None:
    """EMFILE: the listener waits a little and goes on accepting."""
    full = FullSocket(socket.create_server(("127.0.0.1", 0)))
    listener = RunningListener(http_over(ScriptedResponder()), listening=full)
    with closing(listener):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve)
            assert (await listener.ask(post(REQUEST))).body == ANSWER
            nursery.cancel_scope.cancel()
    assert full.refused == 1


class FullSocket(socket.socket):
    """A listening socket that finds no descriptor at first."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(fileno=listening.detach())
        self.refused = 0

    def accept(self) -> tuple[socket.socket, object]:
        if not self.refused:
            self.refused += 1
            raise OSError(24, "Too many open files")
        return super().accept()
