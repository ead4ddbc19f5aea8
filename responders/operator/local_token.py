"""The local token: a secret in a file, which whoever may read the file shows to be let in."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

from engine.errors import ConfigurationInvalid
from engine.home import write_private

TOKEN_OCTETS = 32
"""256 bits: nobody guesses it, however many attempts he has."""

LEAST_CHARACTERS = 22
"""Of a token that somebody else put there: 128 bits in base64."""


def local_token(path: Path) -> str:
    """Return the token in the file; where there is no file it is made, readable by its owner only.

    The caller holds the lock under which one process makes it.

    Args:
        path: `[operator].token_file`.

    Raises:
        ConfigurationInvalid: the file is open to others, holds no token, or can be neither read nor made.
    """
    try:
        if not path.exists():
            write_private(path, secrets.token_urlsafe(TOKEN_OCTETS).encode() + b"\n")
        mode, token = stat.S_IMODE(path.stat().st_mode), path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error), "a file that this account may read, or make") from error
    if mode & 0o077:
        raise _unusable(path, f"mode {mode:04o}", "mode 0600: others must not read it")
    if len(token) < LEAST_CHARACTERS:
        raise _unusable(path, f"{len(token)} characters", f"at least {LEAST_CHARACTERS} characters")
    return token


def _unusable(path: Path, value: str, rule: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        "the operator's token cannot be used",
        place=f"{path}, key operator.token_file",
        value=value,
        rule=rule,
    )
