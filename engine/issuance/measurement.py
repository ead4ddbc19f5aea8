"""Measuring what the token does, for the time estimates of dry runs.

The signatures are made with the operations key over announced messages: the audit record names the first words and
the count before the token is asked, so each of them is accounted for.
"""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass

import trio
from sqlalchemy import insert, select

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.signing import AUTHORITY_ALGORITHM, open_pool, open_token, read_pin
from engine.issuance.policy import policy_from_text
from engine.issuance.run_context import RunContext
from engine.issuance.supervisor import WorkReport
from engine.issuance.workforce import Workforce
from engine.store.plans import next_id
from engine.store.runs import get_run
from engine.store.schema import token_measurement

SIGNATURES = 256
"""Signatures of a measurement: some tenths of a second on SoftHSM. A guess."""


@dataclass(frozen=True, slots=True)
class TokenRate:
    """What the token was measured to do."""

    per_second: float
    sessions: int
    source: str


def last_measurement(context: RunContext) -> TokenRate | None:
    """Return the newest measurement of the token, by a check or by a run; None where there is none."""
    with context.store.read() as connection:
        row = connection.execute(
            select(token_measurement).order_by(token_measurement.c.id.desc()).limit(1)
        ).one_or_none()
    return (
        None if row is None else TokenRate(row.signatures / row.microseconds * 1e6, row.sessions, row.source)
    )


async def measure_token(
    context: RunContext, *, sessions: int | None = None, only_if_never: bool = False
) -> TokenRate | None:
    """Measure the token's signatures a second, and keep the figure.

    Args:
        context: the home and its parts.
        sessions: over how many sessions; as many as the configured workers have without it.
        only_if_never: return the last figure if there is one.

    Returns:
        The figure.

    Raises:
        TokenError: the token cannot be used.
    """
    if only_if_never and (known := last_measurement(context)) is not None:
        return known
    asked = context.configuration.issuance
    count = sessions or (asked.workers or os.cpu_count() or 1) * asked.sessions
    messages = await trio.to_thread.run_sync(_announce, context)
    token = await trio.to_thread.run_sync(open_token, context.home, context.configuration)
    pin = read_pin(context.configuration)
    key = context.authority.operations.key
    async with open_pool(
        context.home, context.configuration, token, pin, [key], count, batch=SIGNATURES
    ) as pool:
        began = time.perf_counter()
        outcomes = await pool.sign_many(messages, key=key, algorithm=AUTHORITY_ALGORITHM)
        seconds = time.perf_counter() - began
    for outcome in outcomes:
        if not isinstance(outcome, bytes):
            raise outcome
    rate = TokenRate(len(messages) / seconds, count, "token-check")
    with context.store.write() as connection:
        connection.execute(
            insert(token_measurement).values(
                id=next_id(connection, token_measurement),
                measured_at=context.clock.now(),
                sessions=count,
                signatures=len(messages),
                microseconds=int(seconds * 1e6),
                source=rate.source,
            )
        )
    return rate


def measurement_messages(nonce: str, count: int) -> list[bytes]:
    """Return the messages that a measurement signs; the audit record gives nonce and count."""
    return [f"sealmint token measurement {nonce} {number}".encode() for number in range(count)]


def _announce(context: RunContext) -> list[bytes]:
    nonce = secrets.token_hex(8)
    with context.store.write() as connection:
        append_record(
            connection,
            context.clock,
            Event.TOKEN_MEASURED,
            actor=context.actor,
            body={"nonce": nonce, "signatures": SIGNATURES},
        )
    return measurement_messages(nonce, SIGNATURES)


def keep_run_measurement(context: RunContext, run_id: int, report: WorkReport, force: Workforce) -> None:
    """Keep what the token did in this run, for the time estimates of dry runs.

    A run with a rate cap or with run windows tells what its policy allows, not what the token does.
    """
    if report.issued < MEASURABLE or report.seconds <= 0:
        return
    with context.store.write() as connection:
        policy = policy_from_text(get_run(connection, run_id).policy_text)
        if policy.rate_cap is not None or policy.run_windows:
            return
        connection.execute(
            insert(token_measurement).values(
                id=next_id(connection, token_measurement),
                measured_at=context.clock.now(),
                sessions=force.workers * force.sessions,
                signatures=report.issued,
                microseconds=int(report.seconds * 1e6),
                source="run",
            )
        )


MEASURABLE = 1_000
"""Certificates below which a run says nothing about the token's speed: starting takes longer. A guess."""
