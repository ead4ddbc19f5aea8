"""Asking running processes over their control sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from engine.control.messages import error_from, line, receive_line
from engine.control.server import SUFFIX
from engine.errors import HomeUnusable, InputRejected
from engine.unix_sockets import connect_unix, short_name

ANSWER_SECONDS = 2.0
"""How long an answer may take that only reads. A guess: a process whose event loop is held up longer is sick."""


class ProcessUnreachable(HomeUnusable):
    """The process is gone, does not answer in time, or belongs to another account."""


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process that has a control socket.

    Attributes:
        name: among those of its home, such as `listener-1`.
        pid: its number, as it counts itself: one in another container may have the same.
        path: of its socket.
    """

    name: str
    pid: int
    path: Path


def running_processes(directory: Path) -> list[RunningProcess]:
    """Return the processes that have a control socket, by name; what dead ones left is removed.

    Args:
        directory: `[control].directory`; where there is none yet, nothing runs.

    Raises:
        HomeUnusable: the directory is another account's.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        message = "the control sockets cannot be looked at"
        raise HomeUnusable(message, place=str(directory), value=error.strerror) from error
    found = []
    for path in paths:
        name, _, pid = path.stem.rpartition("-")
        if name and pid.isdecimal() and not _is_left_over(path, int(pid)):
            found.append(RunningProcess(name, int(pid), path))
    return found


def _is_left_over(path: Path, pid: int) -> bool:
    """Remove the socket of a process that was killed, and tell whether it was such a one.

    The number alone does not tell: in another container others have it.
    """
    if Path(f"/proc/{pid}").exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, short_name(path) as name:
        client.setblocking(False)
        if client.connect_ex(name) != errno.ECONNREFUSED:
            return False
    path.unlink(missing_ok=True)
    return True


async def ask(
    process: RunningProcess,
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the caller's word for how long is worth a document
) -> dict[str, Any]:
    """Ask a process.

    Args:
        process: whom.
        verb: what.
        arguments: for the verb.
        timeout: seconds until it counts as unreachable. What it was told to do it may have done all the same.

    Returns:
        The answer.

    Raises:
        ProcessUnreachable: nobody listens (the socket is removed then), or there was no answer in time.
        SealmintError: the process refused; the error has the class it had there.
    """
    try:
        with trio.fail_after(timeout):
            async with await connect_unix(process.path) as stream:
                await stream.send_all(line({"verb": verb, "arguments": dict(arguments or {})}))
                answered = await receive_line(stream)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError, InputRejected) as error:
        if (
            isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
        ):  # it was killed: nobody listens any more
            process.path.unlink(missing_ok=True)
        raise _unreachable(process, str(error) or "no answer in time") from error
    if answered is None:
        raise _unreachable(process, "it ended the connection")
    if "error" in answered:
        raise error_from(answered["error"])
    answer: dict[str, Any] = answered["answer"]
    return answer


async def ask_all(
    directory: Path,
    verb: str,
    arguments: Mapping[str, Any] | None = None,
    timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as above
) -> list[tuple[RunningProcess, dict[str, Any]]]:
    """Ask every running process at the same time.

    Args:
        directory: `[control].directory`.
        verb: what.
        arguments: for the verb.
        timeout: seconds; who has not answered by then is left out, and so is who does not know the verb.

    Returns:
        The processes that answered, by name, with their answers.

    Raises:
        HomeUnusable: the directory is another account's.
        SealmintError: a process refused for another reason.
    """
    answers: dict[RunningProcess, dict[str, Any]] = {}

    async def ask_one(process: RunningProcess) -> None:
        try:
            answers[process] = await ask(process, verb, arguments, timeout)
        except (ProcessUnreachable, InputRejected):
            return

    listed = running_processes(directory)
    async with trio.open_nursery() as nursery:
        for process in listed:
            nursery.start_soon(ask_one, process)
    return [(process, answers[process]) for process in listed if process in answers]


def _unreachable(process: RunningProcess, reason: str) -> ProcessUnreachable:
    return ProcessUnreachable(
        "the process cannot be asked", place=f"{process.name}, {process.path}", value=reason
    )
