"""Pause and resumption of a run: the only two things that can be done from the page.

A pause is what `sealmint run pause` does, with its audit record. A resumption is `sealmint run start`, a process of a
session of its own, which opens the token by itself and goes on when the operator process ends; this process never has
a PIN.
"""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import orjson
import structlog
import trio

from engine.audit.log import check_clock
from engine.authority.role_certificates import load_authority
from engine.authority.signing import PIN_PROMPT
from engine.clock import Clock
from engine.config import Configuration
from engine.errors import RunStateConflict
from engine.home import Home
from engine.issuance.run_context import RunContext
from engine.issuance.runs import ask
from engine.store.database import Store
from engine.store.runs import RunState, run_state
from responders.supervised_process import module_command

LOG_NAME = "resumed.log"
"""In the run's directory: what `run start` said last."""

ENDING_SECONDS = 10.0
"""How long a resumption waits for the process of the same run that was started before. A guess: it closes its pools."""

_RESUMABLE = frozenset({RunState.PLANNED, RunState.PAUSED})
_ERROR_OCTETS = 4_096  # of the log's end, where the error stands; a guess

Log = structlog.typing.FilteringBoundLogger


def why_no_resumption(configuration: Configuration) -> str | None:
    """Say why no run can be resumed from the page; None if it can."""
    return "prompt" if configuration.token.pin_file == PIN_PROMPT else None


class RunSteering:
    """Pauses and resumes.

    Args:
        home: the home.
        configuration: its settings.
        store: the record, open for writing.
        clock: tells the time.
        nursery: in which the processes that were started are looked after.
        log: who did what.

    Attributes:
        notices: by run, how its last start from here went wrong.
    """

    def __init__(
        self,
        home: Home,
        configuration: Configuration,
        store: Store,
        clock: Clock,
        nursery: trio.Nursery,
        log: Log,
    ) -> None:
        self.notices: dict[int, str] = {}
        self._home, self._configuration, self._store, self._clock = home, configuration, store, clock
        self._nursery, self._log = nursery, log
        self._started: dict[int, trio.Event] = {}

    async def pause(self, run_id: int, who: str) -> bool:
        """Ask the process that works on a run to pause it; what is in hand is finished.

        Args:
            run_id: the run.
            who: by what he was let in, for the audit log.

        Returns:
            Whether a process is at work and will pause it; without one it is paused now.

        Raises:
            InputRejected: there is no such run.
            RunStateConflict: it is closed, or is being aborted.
            StoreError: the pause could not be recorded; nothing has changed.
        """
        working = await trio.to_thread.run_sync(self._pause, run_id, who)
        self._log.info("run-pause-asked", run=run_id, by=who)
        return working

    def _pause(self, run_id: int, who: str) -> bool:
        with self._store.read() as connection:
            check_clock(connection, self._clock)
        context = RunContext(
            self._home,
            self._configuration,
            self._store,
            self._clock,
            load_authority(self._home, self._configuration),
            f"account {getpass.getuser()}, operator's page, {who}",
        )
        return ask(context, run_id, RunState.PAUSING)

    async def resume(self, run_id: int, who: str) -> None:
        """Start a process that goes on with a run. How it fares the run's state tells, and `notices` if it fails.

        Args:
            run_id: the run.
            who: as above; the run's own audit record names the account.

        Raises:
            InputRejected: there is no such run.
            RunStateConflict: it stands in no state to be resumed, or the PIN would have to be typed.
        """
        if why_no_resumption(self._configuration) is not None:
            raise RunStateConflict(
                "the PIN is typed at the terminal; start the run there",
                place="[token].pin_file",
                rule=f"sealmint run start {run_id}",
            )
        state = await trio.to_thread.run_sync(self._state, run_id)
        if state in _RESUMABLE and (ended := self._started.get(run_id)) is not None:
            with trio.move_on_after(ENDING_SECONDS):  # it has paused the run, and takes a moment to end
                await ended.wait()
        if state not in _RESUMABLE or run_id in self._started:
            raise RunStateConflict(
                f"run {run_id} cannot be resumed now", place=f"run {run_id}", value=state.value
            )
        self._started[run_id] = trio.Event()
        self.notices.pop(run_id, None)
        try:
            path = self._home.run_directory(run_id) / LOG_NAME
            process = await self._open(run_id, path)
        except OSError as error:
            self._started.pop(run_id).set()
            raise RunStateConflict("the process could not be started", value=error.strerror) from error
        self._log.info("run-resumed", run=run_id, by=who, child=process.pid)
        self._nursery.start_soon(self._look_after, run_id, process, path)

    def _state(self, run_id: int) -> RunState:
        with self._store.read() as connection:
            return run_state(connection, run_id)

    async def _open(self, run_id: int, path: Path) -> trio.Process:
        command = module_command(
            "engine.cli.main", "run", "start", run_id, "--home", self._home.path, "--json"
        )
        with path.open("wb") as log:
            return await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # it outlives this process, and a signal to its group
            )

    async def _look_after(self, run_id: int, process: trio.Process, path: Path) -> None:
        code = await process.wait()
        self._started.pop(run_id).set()
        error = _error_in(path)
        self._log.info("run-ended", run=run_id, child=process.pid, exit_code=code, error=error)
        if code and error is not None:
            self.notices[run_id] = error


def _error_in(path: Path) -> str | None:
    """The error that a command given --json said last; None where it said none."""
    try:
        last = path.read_bytes()[-_ERROR_OCTETS:].splitlines()[-1]
        return str(orjson.loads(last)["error"]["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
