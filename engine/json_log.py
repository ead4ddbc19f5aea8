"""The log of a process: JSON lines on standard error, the only place where logging is set up.

A line has the time, its level, `event`, the process and what the caller binds: `run`, `unit`, `item` where they exist,
and `request` where one failed. These are bound around the work (`bound`), so that whatever logs within it says them;
threads that trio starts for it say them too. Nothing secret is ever given to a log: the PIN has types that do not show
it, and a test looks for it in what came out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars as bound

__all__ = ["Log", "bound", "json_log", "request_name"]

Log = structlog.typing.FilteringBoundLogger

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]


def json_log(name: str, *, counted: Callable[[str], None] = lambda level: None) -> Log:
    """Set up logging in this process, that of foreign packages too, and return its log.

    Args:
        name: of the process, in every line.
        counted: told the level of every line, for the metrics.
    """

    def count(_: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        counted(str(line.get("level", level)))
        return line

    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        count,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*common, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[_of_process(name), *common],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log: Log = structlog.get_logger(process=name, pid=os.getpid())
    return log


def request_name(request: bytes) -> str:
    """Return what a request is called in the logs of all processes that met it: the beginning of its SHA-256."""
    return hashlib.sha256(request).hexdigest()[:16]


def _of_process(name: str) -> Processor:
    """Say whose line it is, where a foreign package writes it."""

    def add(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"process": name, "pid": os.getpid(), **line}

    return add
