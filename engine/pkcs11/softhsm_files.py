"""SoftHSM's own file about a token, kept safe from a process that is killed while it logs in.

At every C_Login SoftHSM (2.6.1, `ObjectFile::writeAttributes`) empties `token.object` and writes it anew when it closes
it. A process killed between the two leaves it empty, and with it goes the only copy of what the PIN opens: the token
is no longer found, and its keys can never be used again. So whoever holds the log-in lock keeps a copy beside the
file, and whoever comes next puts it back where the file was left empty. It holds what the file holds, no more.

Every other module, and SoftHSM without SOFTHSM2_CONF or with another store than files, has none of this.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import SignerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_COPY = "token.object.before-log-in"
"""Not a name that SoftHSM takes for one of its own: those end in `.object` or `.lock`."""


def put_back_token_files() -> None:
    """Put the copy in the place of every token's file that was left empty. Under the log-in lock where there is one."""
    for file in _token_files():
        if file.stat().st_size == 0:
            with suppress(FileNotFoundError):  # there was no log-in under the lock yet
                file.with_name(_COPY).replace(file)


def copy_token_files() -> None:
    """Copy every token's file, before a log-in. Under the log-in lock.

    Killed meanwhile, it leaves a broken copy beside a file that is whole, and the next one makes the copy anew.

    Raises:
        SignerUnavailable: it cannot be copied. A log-in would put it at risk: on a full disk SoftHSM empties it too.
    """
    for file in _token_files():
        try:
            content = file.read_bytes()
            if content:
                _write_private(file.with_name(_COPY), content)
        except OSError as error:
            message = f"the token's file cannot be copied: {error.strerror}"
            rule = "no log-in without a copy"
            raise SignerUnavailable(message, place=str(file), rule=rule) from error


def _token_files() -> Iterator[Path]:
    configuration = os.environ.get("SOFTHSM2_CONF")
    if configuration is None:
        return
    with suppress(OSError):  # a file that cannot be read is for SoftHSM to complain of
        for line in Path(configuration).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            name, _, value = line.partition("#")[0].partition("=")
            if name.strip() == "directories.tokendir":
                yield from Path(value.strip()).glob("*/token.object")


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
