"""What the token does with so many sessions, read from the measured points of a sweep's curve."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from engine.capacity.knee import plateau


class RateCurve:
    """Signatures a second over sessions: straight lines between measured points, never falling, up to the plateau.

    More sessions than were measured bring no more: the curve does not promise what nobody has seen.

    Args:
        rates: signatures a second by number of sessions; at least one point.

    Raises:
        InputRejected: there is no rate above nought.
    """

    def __init__(self, rates: Mapping[int, float]) -> None:
        self.plateau = plateau(rates)
        self._sessions = [0, *sorted(rates)]
        self._rates = [0.0]
        for sessions in self._sessions[1:]:
            self._rates.append(max(self._rates[-1], min(rates[sessions], self.plateau)))

    def per_second(self, sessions: int) -> float:
        """Return the signatures a second of so many sessions."""
        above = bisect_left(self._sessions, sessions)
        if above == len(self._sessions):
            return self._rates[-1]
        if self._sessions[above] == sessions:
            return self._rates[above]
        low, high = self._sessions[above - 1], self._sessions[above]
        share = (sessions - low) / (high - low)
        return self._rates[above - 1] + share * (self._rates[above] - self._rates[above - 1])

    def sessions_for(self, per_second: float) -> int | None:
        """Return the fewest sessions that make so many a second; None where the token does not."""
        if per_second > self._rates[-1]:
            return None
        return next(
            sessions for sessions in range(self._sessions[-1] + 1) if self.per_second(sessions) >= per_second
        )
