"""What a certificate is for: kind, usage and rank (CPS 1.3.5.1, 1.3.7, 3.1.4).

Register, x509 and store all speak of them and may not know each other, so they stand below.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """The seven certificate kinds (CPS summary 2, 1.1); the value is the name used in files."""

    __hash__ = object.__hash__  # Enum's own is Python code; millions of look-ups in planning notice

    COMPANY = "company"
    BRANCH = "branch"
    BUSINESS = "business"
    LIMITED_PARTNERSHIP = "limited-partnership"
    LIMITED_PARTNERSHIP_BRANCH = "limited-partnership-branch"
    ONE_STOP = "one-stop"
    SETUP = "setup"


class Usage(Enum):
    """Which of a card's two key pairs a certificate is for (CPS 1.3.5.1, 6.1.9)."""

    __hash__ = object.__hash__  # Enum's own is Python code; millions of look-ups in planning notice

    SIGNATURE = "signature"
    ENCRYPTION = "encryption"


class Rank(Enum):
    """Primary card (正卡), secondary card (附卡), or none (CPS 1.3.5.1)."""

    __hash__ = object.__hash__  # Enum's own is Python code; millions of look-ups in planning notice

    PRIMARY = "primary"
    SECONDARY = "secondary"
    NONE = "none"


class Carrier(Enum):
    """What holds the private key: an IC card or another module (CPS 1.3.5.1)."""

    __hash__ = object.__hash__  # Enum's own is Python code; millions of look-ups in planning notice

    IC_CARD = "ic-card"
    OTHER_MODULE = "other-module"
