"""How long a certificate is answered for after it expired (RFC 6960 section 4.4.4)."""

from __future__ import annotations

from datetime import UTC, datetime


def oldest_end(now: int, archive_cutoff_years: int | None) -> int:
    """Return the earliest notAfter that is answered for: with a retention, the archive cutoff.

    Args:
        now: seconds since the epoch: producedAt of the answer.
        archive_cutoff_years: `[ocsp].archive_cutoff_years`; None: no expired certificate is answered for.
    """
    if archive_cutoff_years is None:
        return now
    moment = datetime.fromtimestamp(now, UTC)
    # 29 February comes to 28 February of a year without one.
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    return int(moment.replace(year=moment.year - archive_cutoff_years, day=day).timestamp())
