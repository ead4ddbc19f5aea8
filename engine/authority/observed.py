"""How a process of ours lets itself be looked at and steered: a control socket, and on it what its pool can do.

A process that signs wires it so (a worker of a run, for one):

    async with observed(configuration, f"worker-{os.getpid()}", metrics, log) as control:
        async with open_pool(...) as pool:
            with observe_pool(control, pool, context):
                ...

The name is unique among the processes of a home that live at the same time, except while one takes over from another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from engine.authority.context import AuthorityContext
from engine.authority.pool_control import pool_handlers
from engine.authority.pool_metrics import pool_counted
from engine.config import HostConfiguration
from engine.control.server import ControlServer, controlled
from engine.json_log import Log
from engine.metrics.registry import Metrics
from engine.pkcs11.session_pool import SessionPool


def observed(
    configuration: HostConfiguration, name: str, metrics: Metrics, log: Log | None = None
) -> AbstractAsyncContextManager[ControlServer]:
    """Have a control socket while the block runs; one that cannot be made is a warning in the log, and nothing more.

    Args:
        configuration: the home's settings.
        name: of the process, such as `listener-1`.
        metrics: what it counts; what it spends is added.
        log: told what went wrong.

    Yields:
        The server, to which verbs can be added. What the block raises comes out as it is, not as a group.
    """
    return controlled(ControlServer(Path(configuration.control.directory), name, metrics, log))


@contextmanager
def observe_pool(control: ControlServer, pool: SessionPool, context: AuthorityContext) -> Iterator[None]:
    """Let a pool be looked at and steered while the block runs; it is among the metrics of the process.

    Args:
        control: the process's control socket.
        pool: the open pool.
        context: whose record the changes go into, and by whom; worker processes make one of what they have.
    """
    handlers = pool_handlers(pool, context, control.name, control.orders)
    for verb, handler in handlers.items():
        control.handle(verb, handler)
    try:
        with pool_counted(pool, control.metrics):
            yield
    finally:
        for verb, handler in handlers.items():
            control.forget(verb, handler)
