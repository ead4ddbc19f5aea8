"""How long to leave a token alone that is away: twice as long each time, and never two processes in step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds. The longest is what is left of 5 s, in which live answers must be back with the token, after a log-in and
the opening of sessions; a guess beyond that. The first: what restarts at once is not waited for."""


@dataclass(slots=True)
class BackOff:
    """Pauses between attempts: doubled from the first to the longest, of which a random half is taken off.

    A host has a dozen processes on one token. Without the random part all would come at the moment it is back.

    Args:
        first: seconds of the first pause at most.
        longest: seconds of any pause at most.
        draw: a random number from 0 to 1.
    """

    first: float = FIRST_PAUSE
    longest: float = LONGEST_PAUSE
    draw: Callable[[], float] = field(default=random.random)
    attempts: int = 0
    """How many pauses there were since it last worked."""

    def next(self) -> float:
        """Return the next pause in seconds."""
        # 2^32 times the first pause is beyond any longest one: the exponent does not grow for ever.
        whole = min(self.first * 2.0 ** min(self.attempts, 32), self.longest)
        self.attempts += 1
        return whole * (1 + self.draw()) / 2

    def end(self) -> None:
        """It works again: the next pause is the first."""
        self.attempts = 0
