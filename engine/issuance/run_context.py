"""What every act on a run needs, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.store.runs import RunState, change_state


@dataclass(frozen=True, slots=True)
class RunContext(AuthorityContext):
    """What every act on a run needs."""

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
