"""What the record says about this host: how fast its last run was, and how many answers it keeps fresh."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from engine.authority.context import AuthorityContext
from engine.capacity.rate_curve import RateCurve
from engine.store.schema import ocsp_answer, token_measurement

HELD_BY_THE_TOKEN = 0.9
"""A run with this share of what the token does with its sessions was held by the token, and says nothing about the
host. A guess."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """What the last run of 1,000 certificates or more did, one without rate cap and run windows.

    Attributes:
        per_second: certificates.
        sessions: of all its workers together.
    """

    per_second: float
    sessions: int


def last_run(context: AuthorityContext) -> LastRun | None:
    """Return the newest measurement by a run; None where there is none."""
    newest = (
        select(token_measurement)
        .where(token_measurement.c.source == "run")
        .order_by(token_measurement.c.id.desc())
        .limit(1)
    )
    with context.store.read() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None else LastRun(row.signatures / row.microseconds * 1e6, row.sessions)


def limit_of_host(run: LastRun | None, curve: RateCurve) -> float | None:
    """Return the certificates a second that this host makes at most, by its last run; None where nobody knows.

    A run that came near to what the token does with so many sessions was held by the token: the host may do more.
    """
    if run is None or run.per_second >= HELD_BY_THE_TOKEN * curve.per_second(run.sessions):
        return None
    return run.per_second


def answers_kept(context: AuthorityContext) -> int:
    """Return how many cards have an OCSP answer that is renewed."""
    with context.store.read() as connection:
        return connection.execute(select(func.count()).select_from(ocsp_answer)).scalar_one()
