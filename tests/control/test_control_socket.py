"""The socket of a process: who may connect, what bad questions get, and what a dead process leaves."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from engine import errors
from engine.control.client import ProcessUnreachable, RunningProcess, ask, ask_all, running_processes
from engine.control.messages import MOST_OCTETS, error_document, error_from
from engine.control.server import MOST_CONNECTIONS, PATIENCE_SECONDS, ControlServer, controlled
from engine.errors import AuditFailed, HomeUnusable, InputRejected, Overloaded, SealmintError
from engine.metrics.families import Family, Kind
from engine.metrics.registry import Metrics
from engine.unix_sockets import connect_unix, short_name
from tests.control.served import as_process, say, serve

NOBODY = 65534


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control"


def mode_of(path: Path) -> int:
    return path.stat().st_mode


async def test_the_socket_is_the_owners_only(directory: Path, nursery: trio.Nursery) -> None:
    server = await serve(nursery, directory)
    assert server.path == directory / f"listener-1-{os.getpid()}.socket"
    assert [oct(mode_of(path)) for path in (directory, server.path)] == [
        oct(stat.S_IFDIR | 0o700),
        oct(stat.S_IFSOCK | 0o600),
    ]


CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
except PermissionError:
    sys.exit(13)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every account may enter, unlike those of the tests."""
    with tempfile.TemporaryDirectory() as made:
        top = Path(made)
        top.chmod(0o755)
        yield top


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "mode", [0o700, 0o755], ids=oct
)  # by mistake: then the socket's own mode still does it
async def test_another_account_cannot_connect(reachable: Path, nursery: trio.Nursery, mode: int) -> None:
    server = await serve(nursery, reachable / "control")
    await trio.Path(reachable / "control").chmod(mode)
    for uid, code in ((NOBODY, 13), (0, 0)):
        command = [sys.executable, "-I", "-c", CONNECT, str(server.path), str(uid)]
        done = await trio.run_process(command, check=False, capture_stderr=True)
        assert done.returncode == code, done.stderr


async def test_a_directory_that_is_open_to_others_is_not_used(directory: Path, nursery: trio.Nursery) -> None:
    await trio.Path(directory).mkdir(parents=True)
    await trio.Path(directory).chmod(0o755)
    with capture_logs() as lines:
        server = ControlServer(directory, "web", Metrics(), structlog.get_logger())
        await nursery.start(server.serve)
    assert [line["event"] for line in lines] == ["control-socket-not-made"]
    assert lines[0]["log_level"] == "warning"
    assert running_processes(directory) == []


async def test_a_process_describes_itself_and_its_metrics(directory: Path, nursery: trio.Nursery) -> None:
    family = Family("sealmint_tests_total", Kind.COUNTER, "Counted by a test.", processes=())
    server = await serve(nursery, directory, "listener-2")
    server.metrics.counter(family).add(3)
    told = await ask(as_process(server), "describe")
    assert (told["process"], told["pid"]) == ("listener-2", os.getpid())
    assert told["memory_bytes"] > 1_000_000
    families = (await ask(as_process(server), "metrics"))["families"]
    (found,) = [one for one in families if one["name"] == family.name]
    assert found["samples"] == [{"labels": {}, "value": 3}]


async def test_a_handler_gets_its_arguments_and_who_asked(directory: Path, nursery: trio.Nursery) -> None:
    server = await serve(nursery, directory)
    heard: list[Mapping[str, Any]] = []

    async def handler(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        heard.append(arguments)
        return {"done": True}

    server.handle("act", handler)
    assert await ask(as_process(server), "act", {"number": 4, "asked_by": "somebody else"}) == {"done": True}
    assert heard == [{"number": 4, "asked_by": f"account {pwd.getpwuid(os.getuid()).pw_name}"}]
    server.forget("act", handler)
    with pytest.raises(InputRejected, match="does not know the verb"):
        await ask(as_process(server), "act")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b'"describe"\n', "no JSON object"),
        (b'{"verb": "fly"}\n', "does not know the verb"),
        (b'{"verb": 7}\n', "does not know the verb"),
        (b"{}\n", "does not know the verb"),
        (b'{"verb": "describe", "arguments": [1]}\n', "arguments"),
        (b" " * (MOST_OCTETS + 1), "too long"),
    ],
    ids=["broken off", "not UTF-8", "a word", "unknown", "a number", "no verb", "a list", "oversized"],
)
async def test_a_bad_question_is_told_what_is_wrong(
    directory: Path, nursery: trio.Nursery, question: bytes, message: str
) -> None:
    server = await serve(nursery, directory)
    error = (await say(server, question))["error"]
    assert isinstance(error, dict)
    assert (error["class"], error["exit_code"]) == ("InputRejected", InputRejected.exit_code)
    assert message in error["message"]
    assert (await ask(as_process(server), "describe"))["pid"] == os.getpid()  # nobody else is worse off


async def test_errors_come_back_as_what_they_were(directory: Path, nursery: trio.Nursery) -> None:
    server = await serve(nursery, directory)

    async def refuse(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AuditFailed("not recorded", place="audit_record", rule="CPS 4.5.6")

    server.handle("refuse", refuse)
    with pytest.raises(AuditFailed, match="audit_record: not recorded") as raised:
        await ask(as_process(server), "refuse")
    assert raised.value.exit_code == AuditFailed.exit_code


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SealmintError)],
)
def test_every_error_survives_the_way(kind: type[SealmintError]) -> None:
    again = error_from(error_document(kind("message"))["error"])
    assert type(again) is kind
    assert (str(again), again.exit_code) == ("message", kind.exit_code)


@pytest.mark.parametrize("name", ["the_sealmint_error", "annotations", "NoSuchError", None])
def test_an_error_of_another_version_keeps_its_exit_code(name: str | None) -> None:
    again = error_from({"class": name, "message": "new", "exit_code": 77})
    assert (type(again), again.exit_code) == (SealmintError, 77)


async def test_a_defect_in_a_handler_ends_nothing(directory: Path, nursery: trio.Nursery) -> None:
    async def broken(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ZeroDivisionError

    with capture_logs() as lines:
        server = ControlServer(directory, "web", Metrics(), structlog.get_logger())
        server.handle("break", broken)
        await nursery.start(server.serve)
        with pytest.raises(SealmintError, match="ZeroDivisionError"):
            await ask(as_process(server), "break")
    assert [line["event"] for line in lines] == ["control-defect"]
    assert (await ask(as_process(server), "describe"))["pid"] == os.getpid()


async def test_who_says_nothing_is_let_go_of_and_more_than_enough_are_refused(
    directory: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = await serve(nursery, directory)
    silent = [await connect_unix(server.path) for _ in range(MOST_CONNECTIONS)]
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(Overloaded, match="too many ask"):
        await ask(as_process(server), "describe")
    assert await silent[0].receive_some() == b""
    assert trio.current_time() >= PATIENCE_SECONDS
    assert (await ask(as_process(server), "describe"))["pid"] == os.getpid()
    for stream in silent:
        await stream.aclose()


async def test_a_handler_goes_on_when_whoever_asked_has_left(directory: Path, nursery: trio.Nursery) -> None:
    server = await serve(nursery, directory)
    begun, left, done = trio.Event(), trio.Event(), trio.Event()

    async def slow(_: Mapping[str, Any]) -> Mapping[str, Any]:
        begun.set()
        await left.wait()
        await trio.lowlevel.checkpoint()
        done.set()
        return {}

    server.handle("slow", slow)
    stream = await connect_unix(server.path)
    await stream.send_all(b'{"verb": "slow"}\n')
    await begun.wait()
    await stream.aclose()
    left.set()
    await done.wait()


async def test_an_answer_that_is_too_long_is_an_error(directory: Path, nursery: trio.Nursery) -> None:
    server = await serve(nursery, directory)

    async def talk(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"text": "x" * MOST_OCTETS}

    server.handle("talk", talk)
    with pytest.raises(InputRejected, match="too long"):
        await ask(as_process(server), "talk")


async def test_the_socket_goes_with_the_block_and_errors_come_out_as_they_are(directory: Path) -> None:
    server = ControlServer(directory, "web", Metrics())
    with pytest.raises(HomeUnusable):
        async with controlled(server):
            assert [one.name for one in running_processes(directory)] == ["web"]
            raise HomeUnusable("the block's own error")
    assert not server.path.exists()
    assert running_processes(directory) == []


def leave_behind(path: Path) -> None:
    """Make what a killed process leaves: a socket at which nobody listens."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    with short_name(path) as name:
        dead.bind(name)
    dead.close()


def dead_process_number() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-I", "-c", ""])
    process.wait()
    return process.pid


async def test_what_a_dead_process_left_is_removed(directory: Path, nursery: trio.Nursery) -> None:
    await serve(nursery, directory, "web")
    left = directory / f"listener-1-{dead_process_number()}.socket"
    leave_behind(left)
    assert [one.name for one in running_processes(directory)] == ["web"]
    assert not left.exists()


async def test_a_number_that_another_process_has_by_now_deceives_nobody(directory: Path) -> None:
    left = directory / f"listener-1-{os.getppid()}.socket"
    leave_behind(left)
    (process,) = running_processes(directory)
    with pytest.raises(ProcessUnreachable, match="listener-1"):
        await ask(process, "describe")
    assert not left.exists()


async def test_a_process_of_another_container_is_not_taken_for_dead(
    directory: Path, nursery: trio.Nursery
) -> None:
    server = await serve(nursery, directory, "feed-front")
    elsewhere = server.path.with_name(f"feed-front-{dead_process_number()}.socket")
    server.path.rename(elsewhere)
    (process,) = running_processes(directory)
    assert (await ask(process, "describe"))["process"] == "feed-front"


async def test_all_are_asked_and_those_that_cannot_answer_left_out(
    directory: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    for name in ("web", "listener-1"):
        await serve(nursery, directory, name)
    signer = await serve(nursery, directory, "live-signer")

    async def pool(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"size": 2}

    async def never(_: Mapping[str, Any]) -> Mapping[str, Any]:
        await trio.sleep_forever()
        raise AssertionError

    signer.handle("pool", pool)
    stuck = await serve(nursery, directory, "crl-publisher")
    stuck.handle("pool", never)
    leave_behind(directory / f"pre-signer-1-{os.getppid()}.socket")
    answers = await ask_all(directory, "pool")
    assert [(process.name, answer) for process, answer in answers] == [("live-signer", {"size": 2})]
    described = await ask_all(directory, "describe")
    assert [process.name for process, _ in described] == ["crl-publisher", "listener-1", "live-signer", "web"]


async def test_where_nothing_ever_ran_nobody_is_found(directory: Path) -> None:
    assert running_processes(directory) == []
    assert await ask_all(directory, "describe") == []


def test_a_directory_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match="control sockets"):
        running_processes(tmp_path / "file")


def test_names_with_dashes_are_told_from_numbers(tmp_path: Path) -> None:
    for name in ("pre-signer-once-1", "x"):
        leave_behind(tmp_path / f"{name}-{os.getppid()}.socket")
    leave_behind(tmp_path / "no-number.socket")
    (tmp_path / "note.txt").touch()
    assert running_processes(tmp_path) == [
        RunningProcess(name, os.getppid(), tmp_path / f"{name}-{os.getppid()}.socket")
        for name in ("pre-signer-once-1", "x")
    ]
