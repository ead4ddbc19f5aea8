"""The socket by which a running process is looked at and steered: `[control].directory/<name>-<pid>.socket`.

The socket is mode 0600 in a directory of mode 0700, so whoever can ask is the owner of the process, or root. Every
connection is one question and one answer (engine/control/messages.py). A process whose socket cannot be made serves all
the same.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio

from engine.clock import SystemClock
from engine.control.messages import Document, error_document, line, receive_line
from engine.errors import InputRejected, Overloaded, SealmintError
from engine.json_log import Log
from engine.metrics.process import observe_process, resident_bytes
from engine.metrics.registry import Metrics
from engine.unix_sockets import listen_unix

Handler = Callable[[Document], Awaitable[Document]]
"""Answers a verb. Its arguments hold what was asked and, set here, `asked_by`: the account at the other end."""

SUFFIX = ".socket"

MOST_CONNECTIONS = 16
"""Answered at once; more are told so. A guess: a live table, a collector of metrics, the operator's page, a command."""

PATIENCE_SECONDS = 5.0
"""For a question to arrive, and for an answer to be taken. A guess: both ends are on this host."""

_BACKLOG = 16  # connections that wait to be accepted; a guess


class ControlServer:
    """Answers questions about a process, and does what it is told.

    Args:
        directory: of the control sockets of this home.
        name: of the process among those of this home, such as `listener-1`.
        metrics: what it counts; what it spends is added.
        log: told what went wrong; standard error without it.

    Two verbs are there from the start: "describe" and "metrics", the latter as {"families": [...]}.

    Attributes:
        name: the same.
        metrics: the same.
        path: of the socket.
        orders: what this process was told that outlasts whoever obeyed first: a pool that is opened later obeys too.
    """

    def __init__(self, directory: Path, name: str, metrics: Metrics, log: Log | None = None) -> None:
        self.name = name
        self.path = directory / f"{name}-{os.getpid()}{SUFFIX}"
        self.metrics = metrics
        self._log = _log_of(name) if log is None else log
        observe_process(metrics)
        self._started_at = SystemClock().now()
        self._started = time.monotonic()
        self.orders: dict[str, int] = {}
        self._connections = 0
        self._handlers: dict[str, Handler] = {"describe": self._describe, "metrics": self._snapshot}

    def handle(self, verb: str, handler: Handler) -> None:
        """Answer a verb from now on.

        Args:
            verb: the word.
            handler: answers; what it raises of ours is told to whoever asked. It is not cancelled when that one leaves.
        """
        self._handlers[verb] = handler

    def forget(self, verb: str, handler: Handler) -> None:
        """Answer a verb no longer, unless somebody else answers it by now."""
        if self._handlers.get(verb) == handler:
            del self._handlers[verb]

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; the socket's file is gone then. Where it cannot be made, warn and return."""
        try:
            listener = listen_unix(self.path, _BACKLOG)
        except (OSError, SealmintError) as error:
            self._log.warning("control-socket-not-made", path=str(self.path), reason=str(error))
            task_status.started()
            return
        try:
            async with listener:
                task_status.started()
                await trio.serve_listeners(self._connection, [listener])
        finally:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    async def _connection(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                answered = await self._answer(stream)
                if answered is not None:
                    with trio.fail_after(PATIENCE_SECONDS):
                        await stream.send_all(answered)
        except (trio.BrokenResourceError, trio.TooSlowError):
            pass  # whoever asked is gone, which is all there is to know
        finally:
            self._connections -= 1

    async def _answer(self, stream: trio.SocketStream) -> bytes | None:
        try:
            if self._connections > MOST_CONNECTIONS:
                raise Overloaded("too many ask this process", rule=f"at most {MOST_CONNECTIONS} at once")
            with trio.fail_after(PATIENCE_SECONDS):
                asked = await receive_line(stream)
            if asked is None:
                return None
            handler, arguments = self._question(asked)
            return line({"answer": await handler({**arguments, "asked_by": _account_behind(stream)})})
        except SealmintError as error:
            return line(error_document(error))
        except (trio.BrokenResourceError, trio.TooSlowError):
            raise
        except Exception as defect:  # the process has better things to do than to end by this
            self._log.exception("control-defect")
            return line(error_document(SealmintError("a defect in this process", value=repr(defect))))

    def _question(self, asked: Document) -> tuple[Handler, Document]:
        verb, arguments = asked.get("verb"), asked.get("arguments", {})
        handler = self._handlers.get(verb) if isinstance(verb, str) else None
        if handler is None:
            rule = f"one of {', '.join(sorted(self._handlers))}"
            raise InputRejected("this process does not know the verb", place=self.name, value=verb, rule=rule)
        if not isinstance(arguments, dict):
            raise InputRejected("the arguments are no JSON object", place=f"{self.name}, {verb}")
        return handler, arguments

    async def _describe(self, _: Document) -> Document:
        return {
            "process": self.name,
            "pid": os.getpid(),
            "started_at": self._started_at.isoformat(),
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "cpu_seconds": time.process_time(),
            "memory_bytes": resident_bytes(),
        }

    async def _snapshot(self, _: Document) -> Document:
        return {"families": self.metrics.snapshot()}


@asynccontextmanager
async def controlled(server: ControlServer) -> AsyncIterator[ControlServer]:
    """Have a server listen while the block runs. What the block raises comes out as it is, not as a group."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        try:
            yield server
        except BaseException as error:  # raised again below, outside the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _log_of(name: str) -> Log:
    """A log for a process that has none: standard output may be the answer of a command."""
    processors: list[structlog.typing.Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    log: Log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=processors, process=name)
    return log


def _account_behind(stream: trio.SocketStream) -> str:
    """The account that made the connection (SO_PEERCRED, unix(7)), for the audit log."""
    form = "3i"  # struct ucred: pid, uid, gid
    octets = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    _, uid, _ = struct.unpack(form, octets)
    try:
        return f"account {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"
