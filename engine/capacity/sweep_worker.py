"""A process of a sweep: opens pools of the sizes it is told, and keeps them busy.

The token is opened once; each slice has a pool of its own, opened before and closed after it, so that what the pool
counts is the slice's. It looks at no lane table and asks nobody: what is measured is the token, not the lanes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.authority.signing import CHUNK, MAX_WAITING, open_token, session_slots
from engine.capacity import sweep_messages as messages
from engine.capacity.load_on_pool import Load
from engine.config import Configuration, load_configuration
from engine.errors import SealmintError, SignerUnavailable, the_sealmint_error
from engine.home import Home
from engine.interpreter import settle_for_signing
from engine.pkcs11.arbiter import InProcessArbiter
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import open_session_pool
from engine.pkcs11.token import Token
from engine.process_hardening import forbid_cores
from engine.worker_pipes import encode, lines, serve_over_pipes


@dataclass(slots=True)
class _SweepWorker:
    home: Home
    configuration: Configuration
    start: messages.Start
    token: Token
    pin: Pin
    out: trio.abc.SendStream
    signed: int = 0

    async def slice(self, sessions: int, commands: _Commands) -> bool:
        """Open a pool, do one measurement with it and close it; False when the sweep is gone."""
        key = KeyReference(self.start.key)
        async with open_session_pool(
            self.token,
            self.pin,
            keys=[key],
            size=sessions,
            chunk=CHUNK,
            call_timeout=self.configuration.token.call_timeout,
            max_stuck=self.configuration.token.max_stuck,
            max_waiting=MAX_WAITING,
            arbiter=InProcessArbiter(),
            slots=session_slots(self.home, self.token),
        ) as pool:
            opened = len(pool.statistics().sessions)
            if opened < sessions:
                rule = "--max-sessions leaves what others use"
                raise SignerUnavailable("the token gave fewer sessions", value=opened, rule=rule)
            await self.out.send_all(encode(messages.Ready(sessions=opened)))
            told = await commands.next()
            if not isinstance(told, messages.Measure):
                return False
            load = Load(pool, key, self.start.algorithm, told, sessions)
            try:
                measured = await load.run()
            finally:
                self.signed = load.signed
        await self.out.send_all(encode(measured))
        return True


class _Commands:
    def __init__(self, stdin: trio.abc.ReceiveStream) -> None:
        self.lines = lines(stdin)

    async def next(self) -> messages.ToWorker | None:
        line = await anext(self.lines, None)
        return None if line is None else messages.to_worker.validate_json(line)


async def serve(stdin: trio.abc.ReceiveStream, out: trio.abc.SendStream) -> int:
    """Run a worker of a sweep over its two pipes, until the first of them ends.

    Returns:
        The exit status: 0, or that of the error that stopped it.
    """
    commands = _Commands(stdin)
    async with contextlib.aclosing(commands.lines):
        told = await anext(commands.lines, None)
        if told is None:
            return 0
        start = messages.Start.model_validate_json(told)
        worker: _SweepWorker | None = None
        try:
            home = Home(Path(start.home))
            configuration = load_configuration(home.path)
            token = open_token(home, configuration)
            pin = Pin(start.pin.get_secret_value())
            worker = _SweepWorker(home, configuration, start, token, pin, out)
            await out.send_all(encode(messages.Ready(sessions=0)))
            while (command := await commands.next()) is not None:
                if not isinstance(command, messages.Prepare) or not await worker.slice(
                    command.sessions, commands
                ):
                    break
        except (SealmintError, BaseExceptionGroup) as raised:
            error = the_sealmint_error(raised)
            signed = 0 if worker is None else worker.signed
            failed = messages.Failed(error=type(error).__name__, text=str(error), signed=signed)
            with contextlib.suppress(trio.BrokenResourceError):
                await out.send_all(encode(failed))
            return error.exit_code
        except trio.BrokenResourceError:
            return 0  # the sweep is gone
    return 0


def main() -> None:
    """The entry of a sweep's process: `python -m engine.capacity.sweep_worker`, started by a sweep only."""
    forbid_cores()
    settle_for_signing()
    serve_over_pipes(serve)


if __name__ == "__main__":
    main()
