"""What every act on a run needs, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import Clock
from engine.config import Configuration
from engine.home import Home
from engine.issuance.authority import Authority
from engine.store.database import Store
from engine.store.runs import RunState, change_state


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every act on a run needs."""

    home: Home
    configuration: Configuration
    store: Store
    clock: Clock
    authority: Authority
    actor: str

    def record(
        self, event: Event, run_id: int, to: RunState, allowed: frozenset[RunState], reason: str
    ) -> None:
        """Move a run to another state, with its audit record."""
        with self.store.write() as connection:
            before = change_state(connection, run_id, to, allowed=allowed, reason=reason)
            append_record(
                connection,
                self.clock,
                event,
                actor=self.actor,
                body={"run": run_id, "from": before.value, "to": to.value, "reason": reason},
            )
