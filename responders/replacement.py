"""How a process asks its supervisor for a successor."""

from __future__ import annotations

from engine.errors import SignerFailed, TokenError


class ToBeReplaced(SignerFailed):
    """Nothing is wrong that a new process would not put right: its supervisor starts one at once."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h

    @classmethod
    def because_of(cls, error: TokenError) -> ToBeReplaced:
        """Make it of the error that ended this process."""
        return cls(error.message, place=error.place, rule=error.rule)
