"""Who else uses the token while it is swept: what they sign is missing in what is measured."""

from __future__ import annotations

from pathlib import Path

from engine.config import Configuration
from engine.control.client import ask_all
from engine.errors import HomeUnusable
from engine.pkcs11.token import Token


async def others_on(configuration: Configuration, token: Token) -> list[str]:
    """Return who uses the token now, for people to read: processes of this home that have a pool, and open sessions.

    A token that counts sessions over all applications also tells of other hosts and other programs. To be asked before
    this process opens a session of its own.

    Raises:
        TokenError: the token does not say how many sessions are open.
    """
    pools = await ask_all(Path(configuration.control.directory), "pool")
    found = [f"{process.name} (process {process.pid})" for process, _ in pools]
    open_sessions = token.limits().open_sessions
    if not found and open_sessions:
        found.append(f"{open_sessions} open sessions of other programs or hosts")
    return found


def refuse_others(others: list[str]) -> None:
    """Refuse to measure beside others.

    Raises:
        HomeUnusable: somebody else uses the token.
    """
    if others:
        raise HomeUnusable(
            "others use the token; the sweep would measure what they leave, and take from them",
            value=", ".join(others),
            rule="stop them, or go on with --beside-others",
        )
