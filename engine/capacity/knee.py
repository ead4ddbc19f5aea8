"""Plateau and knee of a curve of rates over sessions.

The plateau is the median of the points within 5 % of the highest one: the highest alone would be the luckiest slice.
The knee is the fewest sessions, of all processes together, with at least 95 % of the plateau.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from engine.errors import InputRejected

KNEE_SHARE = 0.95
"""By definition: what an operator gives up for sessions that would only wait inside the token."""


def plateau(rates: Mapping[int, float]) -> float:
    """Return what the token does at most, in signatures a second.

    Args:
        rates: signatures a second by number of sessions.

    Raises:
        InputRejected: there is no rate above nought.
    """
    highest = max(rates.values(), default=0.0)
    if highest <= 0:
        raise InputRejected("no shape made a signature", place="sweep", rule="a plateau has a rate")
    return statistics.median(rate for rate in rates.values() if rate >= KNEE_SHARE * highest)


def knee(rates: Mapping[int, float]) -> int:
    """Return the fewest sessions with at least 95 % of the plateau.

    Args:
        rates: signatures a second by number of sessions.

    Raises:
        InputRejected: there is no rate above nought.
    """
    enough = KNEE_SHARE * plateau(rates)
    return min(sessions for sessions, rate in rates.items() if rate >= enough)
