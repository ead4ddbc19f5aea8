"""How many workers with how many sessions work on a run, within what the token allows."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.errors import RunStateConflict
from engine.issuance.run_context import RunContext
from engine.pkcs11.token import Token


@dataclass(frozen=True, slots=True)
class Workforce:
    """How many processes with how many sessions each."""

    workers: int
    sessions: int


def workforce(context: RunContext, token: Token, workers: int | None, sessions: int | None) -> Workforce:
    """Settle how many workers and sessions there will be, within what the token allows.

    Every process also holds an anchor session, and the supervisor's own signer two sessions more.

    Raises:
        RunStateConflict: the token does not allow even one worker.
    """
    asked = context.configuration.issuance
    wanted = workers or asked.workers or os.cpu_count() or 1
    each = sessions or asked.sessions
    most = token.limits().max_sessions
    if most is None:
        return Workforce(wanted, each)
    for_workers = most - SUPERVISOR_SESSIONS
    if for_workers < 2:
        raise RunStateConflict(
            "the token allows too few sessions for a worker",
            place=f"token {token.label}",
            value=most,
            rule=f"at least {SUPERVISOR_SESSIONS + 2}: an anchor and one session, and the supervisor's own",
        )
    count = min(wanted, for_workers // 2)
    return Workforce(count, min(each, for_workers // count - 1))


SUPERVISOR_SESSIONS = 3
"""The supervisor's anchor, its signer, and the one that proves a key."""
