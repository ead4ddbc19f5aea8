"""How long a certificate is answered for after it expired (RFC 6960 section 4.4.4)."""

from __future__ import annotations

_YEAR_SECONDS = 31_557_600  # 365.25 days, as the pre-signer counts


def oldest_end(now: int, archive_cutoff_years: int | None) -> int:
    """Return the earliest notAfter that is answered for: with a retention, the archive cutoff.

    Args:
        now: seconds since the epoch: producedAt of the answer.
        archive_cutoff_years: `[ocsp].archive_cutoff_years`; None: no expired certificate is answered for.
    """
    return now - (archive_cutoff_years or 0) * _YEAR_SECONDS
