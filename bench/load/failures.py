"""How an arrival can fail, once it was sent."""

from __future__ import annotations


class NoAnswer(Exception):
    """There was no answer, or one that says why there is none: an error, by its name.

    Args:
        name: such as timeout, connection, http-503, try-later.
        detail: for the few that are kept as examples.
    """

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


class WrongAnswer(Exception):
    """An answer that should never have left: a failure of another order than an error.

    Args:
        name: signature, signer, certificate-id, times, nonce, status, stale-good, unreadable, not-modified, content.
        detail: for the few that are kept as examples.
    """

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
