"""What a transaction is opened for."""

from __future__ import annotations

from enum import Enum, auto


class Writing(Enum):
    """Whether a transaction writes, and who else may meanwhile."""

    NOT = auto()
    """A snapshot."""
    BESIDE = auto()
    """Beside others of its kind, where the database can."""
    ALONE = auto()
    """No other transaction writes until it ends."""
