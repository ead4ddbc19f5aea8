"""The supervisor: starts, starts again, replaces, stops in order; and the real listener under it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from engine.config import OcspSection
from engine.errors import HomeUnusable, InputRejected
from responders import supervised_process
from responders.listening_sockets import listen, parse_address, url_of
from responders.serve import follower_stage, front_stage, signer_stage
from responders.supervised_process import ProcessPlan
from responders.supervisor import Supervisor
from tests.judges.toy_authority import ToyAuthority
from tests.responders.listener_client import Client, post
from tests.responders.ocsp_requests import plain
from tests.responders.synthetic_status import GOOD, NOBODY_FOLLOWS, SyntheticStatus

STAND_IN = """
import os, signal, sys
name, *codes = sys.argv[1:]
def tell(what):
    with open("log", "a") as log: log.write(f"{name} {what} {os.getpid()}\\n")
starts = sum(line.startswith(f"{name} started") for line in open("log"))
tell("started")
if starts < len(codes): sys.exit(int(codes[starts]))
def stop(*_):
    tell("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
if name.startswith("front"): print("ready", flush=True)
if name == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN); tell("deaf")
line = sys.stdin.readline()
if line: tell("heard " + line.strip())
while name == "deaf" or sys.stdin.readline(): pass
tell("left")
"""


class Scene:
    """Stand-in processes that write what happens to them into one log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.log.touch()
        (directory / "stand_in.py").write_text(STAND_IN)

    def plan(self, name: str, *codes: int, wants_pin: bool = False) -> ProcessPlan:
        """A process that ends with each of the codes in turn, and then stays."""
        command = (sys.executable, "stand_in.py", name, *map(str, codes))
        return ProcessPlan(name, command, wants_pin=wants_pin, says_ready=name.startswith("front"))

    def events(self, name: str = "") -> list[tuple[str, int]]:
        """What happened, without the names, to one process or all: with the process number."""
        found = []
        for line in self.log.read_text().splitlines():
            who, *what, pid = line.split()
            if not name or who == name:
                found.append((" ".join(what) if name else f"{who} {' '.join(what)}", int(pid)))
        return found

    async def wait_for(self, what: str, times: int = 1) -> int:
        """Wait until something was told so often; return the process that told it last."""
        while True:
            found = [pid for event, pid in self.events() if event == what]
            if len(found) >= times:
                return found[times - 1]
            await trio.sleep(0.005)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(supervised_process, "FIRST_PAUSE", 0.01)
    return Scene(tmp_path)


async def test_stages_stop_in_the_opposite_order(scene: Scene, nursery: trio.Nursery) -> None:
    stages = [
        [scene.plan("follower")],
        [scene.plan("signer")],
        [scene.plan("front-1"), scene.plan("front-2")],
    ]
    supervisor = Supervisor(stages)
    nursery.start_soon(supervisor.run)
    assert await supervisor.wait_ready()
    for name in ("follower", "signer"):
        await scene.wait_for(f"{name} started")
    await trio.sleep(0.2)  # until their signal handlers are there, in case they are slow
    await supervisor.stop()
    stopped = [event for event, _ in scene.events() if event.endswith("stopped")]
    assert sorted(stopped[:2]) == ["front-1 stopped", "front-2 stopped"]
    assert stopped[2:] == ["signer stopped", "follower stopped"]


async def test_what_dies_is_started_again(scene: Scene, nursery: trio.Nursery) -> None:
    supervisor = Supervisor([[scene.plan("signer", 1, 75)], [scene.plan("front")]])
    nursery.start_soon(supervisor.run)
    assert await supervisor.wait_ready()
    assert await scene.wait_for("signer started", times=3)
    os.kill(await scene.wait_for("front started"), signal.SIGKILL)
    await scene.wait_for("front started", times=2)
    await supervisor.stop()
    assert len([event for event, _ in scene.events("signer") if event == "started"]) == 3


@pytest.mark.parametrize("code", sorted(supervised_process.FINAL))
async def test_a_refused_pin_is_not_tried_again_by_itself(
    scene: Scene, nursery: trio.Nursery, code: int
) -> None:
    supervisor = Supervisor([[scene.plan("signer", code)], [scene.plan("front")]])
    nursery.start_soon(supervisor.run)
    assert await supervisor.wait_ready()
    signer = supervisor._stages[0][0]
    await signer.given_up.wait()
    assert [event for event, _ in scene.events("signer")] == ["started"]
    await supervisor.replace()
    await scene.wait_for("signer started", times=2)
    assert not signer.given_up.is_set()
    await supervisor.stop()


async def test_a_front_that_cannot_start_ends_it_all(scene: Scene, nursery: trio.Nursery) -> None:
    supervisor = Supervisor([[scene.plan("follower")], [scene.plan("front-1"), scene.plan("front-2", 4)]])
    nursery.start_soon(supervisor.run)
    with pytest.raises(HomeUnusable, match="front-2"):
        await supervisor.wait_ready()
    assert supervisor.stopped.is_set()


async def test_the_pin_goes_to_those_that_sign_each_time_they_start(
    scene: Scene, nursery: trio.Nursery
) -> None:
    stages = [[scene.plan("follower")], [scene.plan("signer", 1, wants_pin=True)], [scene.plan("front")]]
    supervisor = Supervisor(stages, b"2468")
    nursery.start_soon(supervisor.run)
    await scene.wait_for("signer heard 2468")
    assert await supervisor.wait_ready()
    await supervisor.stop()
    told = [event for event, _ in scene.events() if "2468" in event]
    assert told == ["signer heard 2468"]


async def test_fronts_are_replaced_and_the_rest_is_left_alone(scene: Scene, nursery: trio.Nursery) -> None:
    supervisor = Supervisor([[scene.plan("follower")], [scene.plan("front-1"), scene.plan("front-2")]])
    nursery.start_soon(supervisor.run)
    assert await supervisor.wait_ready()
    await supervisor.replace()
    started = [event for event, _ in scene.events() if event.endswith("started")]
    assert sorted(started) == ["follower started"] + ["front-1 started"] * 2 + ["front-2 started"] * 2
    for name in ("front-1", "front-2"):
        first, second, stopped = scene.events(name)
        assert (first[0], second[0], stopped[0]) == ("started", "started", "stopped")
        assert stopped[1] == first[1] != second[1]
    await supervisor.stop()
    assert all(len(scene.events(name)) == 4 for name in ("front-1", "front-2"))


async def test_a_successor_that_fails_replaces_nothing(scene: Scene, nursery: trio.Nursery) -> None:
    supervisor = Supervisor([[scene.plan("front")]])
    nursery.start_soon(supervisor.run)
    assert await supervisor.wait_ready()
    (scene.directory / "stand_in.py").write_text("raise SystemExit(1)")
    await supervisor.replace()
    assert [event for event, _ in scene.events("front")] == ["started"]
    await supervisor.stop()
    assert [event for event, _ in scene.events("front")] == ["started", "stopped"]


async def test_who_does_not_stop_is_killed(
    scene: Scene, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised_process, "STOPPING_SECONDS", 0.05)
    supervisor = Supervisor([[scene.plan("deaf")]])
    nursery.start_soon(supervisor.run)
    pid = await scene.wait_for("deaf deaf")
    await supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_let_go_they_leave_by_themselves(scene: Scene) -> None:
    """As when the supervisor is killed: their standard input ends."""
    supervisor = Supervisor([[scene.plan("follower")], [scene.plan("front")]])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        assert await supervisor.wait_ready()
        await scene.wait_for("follower started")
        nursery.cancel_scope.cancel()
    for name in ("follower", "front"):
        await scene.wait_for(f"{name} left")


def test_the_processes_are_those_of_the_page() -> None:
    home = Path("/home")
    names = [plan.name for plan in (*follower_stage(home), *signer_stage(home, OcspSection()))]
    assert names == [
        "follower",
        "pre-signer-1",
        "pre-signer-2",
        "crl-publisher",
        "live-signer",
        "token-watch",
    ]
    assert "live-signer" not in [plan.name for plan in signer_stage(home, OcspSection(live_signer=None))]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        front = front_stage(home, [listening, listening], listening)
    assert [plan.name for plan in front] == ["listener-1", "listener-2", "web"]
    assert [plan.wants_pin for plan in (*follower_stage(home), *front)] == [False] * 4
    assert all(plan.wants_pin for plan in signer_stage(home, OcspSection()))


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "80", ":80", "host", "host:", "host:port", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputRejected):
        parse_address(text)


def test_several_sockets_share_a_port_that_nobody_else_gets() -> None:
    with ExitStack() as opened, ExitStack() as other:
        sockets = listen(("127.0.0.1", 0), 3, opened)
        addresses = {one.getsockname() for one in sockets}
        assert len(addresses) == 1
        ((_, port),) = addresses
        assert url_of(sockets) == f"http://127.0.0.1:{port}/"
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputRejected, match="in use"):
            listen(taken.getsockname(), 1, other)
        with pytest.raises(InputRejected, match="in use"):  # another host of ours
            listen(sockets[0].getsockname(), 1, other)


@pytest.fixture
def host(tmp_path: Path) -> SyntheticStatus:
    """A home with nothing but a configuration and a status store: all that a listener needs."""
    status = SyntheticStatus(tmp_path / "status-store", ToyAuthority())
    status.build()
    (tmp_path / "sealmint.toml").write_text(
        '[token]\nmodule = "/none"\nlabel = "none"\n[ocsp]\nnonce = "ignore"\n'
        f"stale_seconds = {NOBODY_FOLLOWS}\n"
    )
    return status


def listener_plan(home: Path, listening: socket.socket) -> ProcessPlan:
    return front_stage(home, [listening], listening)[0]


async def test_a_planned_restart_of_the_real_listener_resets_nobody(
    host: SyntheticStatus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    question = post(plain(GOOD, host.issuer))
    with ExitStack() as opened:
        (listening,) = listen(("127.0.0.1", 0), 1, opened)
        supervisor = Supervisor([[listener_plan(tmp_path, listening)]])
        nursery.start_soon(supervisor.run)
        assert await supervisor.wait_ready()
        replaced, answered = trio.Event(), 0

        async def keep_asking() -> None:
            nonlocal answered
            while not replaced.is_set():
                client = Client(await trio.open_tcp_stream(*listening.getsockname()))
                async with client.stream:
                    stays = True
                    while stays and not replaced.is_set():
                        answer = await client.ask(question)  # no reset, and no end in the middle
                        assert answer.status == 200
                        assert len(answer.body) > 1_000
                        answered += 1
                        stays = answer.headers.get("connection") != "close"

        async with trio.open_nursery() as clients:
            for _ in range(8):
                clients.start_soon(keep_asking)
            for _ in range(2):
                before = answered
                await supervisor.replace()
                assert answered > before
            replaced.set()
        await supervisor.stop()


async def test_a_killed_listener_loses_no_connection_that_waits(
    host: SyntheticStatus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    with ExitStack() as opened:
        (listening,) = listen(("127.0.0.1", 0), 1, opened)
        supervisor = Supervisor([[listener_plan(tmp_path, listening)]])
        nursery.start_soon(supervisor.run)
        assert await supervisor.wait_ready()
        (process,) = supervisor._stages[0]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)  # so that it accepts nothing more
        waiting = [Client(await trio.open_tcp_stream(*listening.getsockname())) for _ in range(3)]
        for client in waiting:
            await client.send(post(plain(GOOD, host.issuer)))
        os.kill(process.pid, signal.SIGKILL)
        for client in waiting:
            async with client.stream:
                assert (await client.answer()).status == 200
        await supervisor.stop()
