"""The supervisor of a responder host: keeps the processes of `sealmint serve`, and nothing else.

    follower                               writes the status store           no token, no PIN
    pre-signers, crl publisher, live signer sign                             the token, the PIN
    token-watch                             looks whether the keys are well  the token, the PIN
    listeners, web                         answer relying parties            no token, no PIN, no right to write

They are started together (each waits for what it needs) and stopped in the opposite order: first those that answer,
each finishing what it has in hand, then those that sign, then the follower.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.config import OcspSection
from responders.listening_sockets import listen, url_of
from responders.supervised_process import ProcessPlan, module_command
from responders.supervisor import Stages, Supervisor


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the host answers."""

    ocsp: str
    http: str


def follower_stage(home: Path) -> list[ProcessPlan]:
    """Return the process that keeps the status store up to date."""
    return [ProcessPlan("follower", module_command("engine.status.follower", "--home", home))]


def signer_stage(home: Path, settings: OcspSection, *, watch_token: bool = True) -> list[ProcessPlan]:
    """Return the processes that sign.

    Args:
        home: the home.
        settings: how many sign answers ahead, each for a share of the cards, and whether there is a live signer.
        watch_token: whether the keys are looked at.
    """

    def signer(name: str, module: str, *arguments: str) -> ProcessPlan:
        command = module_command(module, "--home", home, "--name", name, *arguments)
        return ProcessPlan(name, command, wants_pin=True)

    count = settings.signers
    stage = [
        signer(f"pre-signer-{place + 1}", "engine.status.pre_signer", "--share", f"{place}/{count}")
        for place in range(count)
    ]
    stage.append(signer("crl-publisher", "engine.status.crl_publisher"))
    if settings.live_signer is not None:
        stage.append(signer("live-signer", "responders.live_signer"))
    if watch_token:
        stage.append(signer("token-watch", "engine.status.token_watch"))
    return stage


def front_stage(home: Path, ocsp: Sequence[socket.socket], http: socket.socket) -> list[ProcessPlan]:
    """Return the processes that answer: a listener for each of the OCSP sockets, and the web application."""

    def front(name: str, module: str, listening: socket.socket) -> ProcessPlan:
        descriptor = listening.fileno()
        command = module_command(module, "--home", home, "--name", name, "--socket", descriptor)
        return ProcessPlan(name, command, descriptors=(descriptor,), says_ready=True)

    return [
        *(front(f"listener-{n}", "responders.listener_process", one) for n, one in enumerate(ocsp, 1)),
        front("web", "responders.web_process", http),
    ]


async def serve(
    before: Stages,
    home: Path,
    ocsp: tuple[str, int],
    http: tuple[str, int],
    processes: int,
    *,
    pin: bytes,
    on_ready: Callable[[Addresses], None],
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP replaces the processes that answer, one after the other.

    Args:
        before: the stages beside those that answer.
        home: the home.
        ocsp: where the fast listener listens.
        http: where the web application listens.
        processes: listener processes.
        pin: the PIN as it was typed, or nothing.
        on_ready: called once, when all that answers is ready.

    Raises:
        InputRejected: nobody can listen at an address.
        HomeUnusable: a process that answers cannot be started on this home.

    Cancelled, it lets go of its processes, which then stop by themselves.
    """
    with (
        ExitStack() as opened,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
    ):
        ocsp_sockets = listen(ocsp, processes, opened)
        http_sockets = listen(http, 1, opened)
        supervisor = Supervisor([*before, front_stage(home, ocsp_sockets, http_sockets[0])], pin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            nursery.start_soon(supervisor.heed, signals, nursery)
            if await supervisor.wait_ready():
                on_ready(Addresses(url_of(ocsp_sockets), url_of(http_sockets)))
                await supervisor.stopped.wait()
            nursery.cancel_scope.cancel()
