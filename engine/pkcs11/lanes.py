"""Lanes: whose work it is that waits for the token, and what each lane is worth where they meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Lane(IntEnum):
    """Who goes first; the smaller number does."""

    URGENT = 0
    """Answers to changes of status, and what tells public hosts of them."""
    LIVE = 1
    """OCSP answers somebody waits for."""
    CRL = 2
    """CRLs, and the few signatures that the authority makes for itself."""
    PRE_SIGNING = 3
    """OCSP answers ahead of the questions."""
    ISSUANCE = 4
    """Certificates of a run."""

    @property
    def label(self) -> str:
        """The name in settings, tables and metrics."""
        return self.name.lower().replace("_", "-")


BULK = frozenset({Lane.PRE_SIGNING, Lane.ISSUANCE})
"""The lanes whose work is planned: they give way to those whose work comes from outside."""

WEIGHTS = {Lane.URGENT: 16, Lane.LIVE: 8, Lane.CRL: 4, Lane.PRE_SIGNING: 2, Lane.ISSUANCE: 1}
"""Shares of the token's time where all lanes have work. A guess: each lane is worth twice the next."""

DEADLINES = {Lane.URGENT: 0.05, Lane.LIVE: 0.02, Lane.CRL: 0.5, Lane.PRE_SIGNING: 2.0, Lane.ISSUANCE: 5.0}
"""Seconds after which a lane that waits and was not served goes before the others, for one chunk. A guess: what
comes from outside, a fraction of what its client waits; what is planned, so often that it never stands still."""

SHARED_HOLD = 0.02
"""Seconds for which a session is held at most while somebody else has work: what a chunk of another lane, or of
another process, waits for a place. A guess: less than half of the live objective's default."""


@dataclass(frozen=True)
class LaneRules:
    """What each lane is worth.

    Args:
        weights: shares of the token's time where lanes compete.
        deadlines: seconds after which a lane that waits goes first.
    """

    weights: Mapping[Lane, float] = field(default_factory=lambda: WEIGHTS)
    deadlines: Mapping[Lane, float] = field(default_factory=lambda: DEADLINES)
