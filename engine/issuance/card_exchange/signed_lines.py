"""One file of JSON lines in a directory of its own, under a signed manifest: the form of every exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import orjson
import trio
from pydantic import JsonValue

from engine.authority.detached_signature import Sign
from engine.errors import InputRejected
from engine.issuance.manifest import durable_file, read_manifest, remove_manifest, write_manifest

MAXIMUM_LINE = 64 * 1024
"""Octets a line has at most; a card with two RSA-4096 keys needs about 1,700. A guess."""

READ_AHEAD = 1024 * 1024
"""Octets read from the file at once; the usual 8 KiB would be a system call for every ninth card. A guess."""

CANCELLATION_INTERVAL = 0.1
"""Seconds between two looks whether the writing was cancelled. A guess."""


def json_line(row: Mapping[str, JsonValue]) -> bytes:
    """Return a row as one line of UTF-8 JSON with sorted keys and a line feed at the end."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


async def write_signed_lines(
    directory: Path,
    name: str,
    lines: Iterable[bytes],
    *,
    purpose: str,
    details: Mapping[str, JsonValue],
    certificate: bytes,
    chain: Sequence[bytes],
    now: datetime,
    sign: Sign,
) -> int:
    """Write lines into a file and sign its manifest; a manifest from before goes first.

    The lines are taken in a thread of their own. If cancelled, it stops within a fraction of a second of the next
    line, and neither file nor manifest appears; once the file is whole, it may stand there without a manifest.

    Args:
        directory: made if need be; it may hold nothing but an older exchange of this name.
        name: the name of the file.
        lines: each with its line feed.
        purpose: what the manifest says the file is for.
        details: what the manifest says besides; the number of lines is added as `lines`.
        certificate: the signer's certificate, DER.
        chain: certificates to send along, DER.
        now: the time of signing; aware.
        sign: signs with the certificate's key.

    Returns:
        The number of lines.

    Raises:
        HomeUnusable: the directory cannot be written.
        InputRejected: the directory holds another file.
        ConfigurationInvalid, SignatureInvalid, TokenError: as `sign_detached` raises them.
    """
    count = await trio.to_thread.run_sync(_write_lines, directory, name, lines)
    await write_manifest(
        directory,
        [name],
        purpose=purpose,
        details={**details, "lines": count},
        certificate=certificate,
        chain=chain,
        now=now,
        sign=sign,
    )
    return count


def read_signed_lines(
    directory: Path, name: str, *, purpose: str, trusted: Sequence[bytes]
) -> Iterator[tuple[int, bytes]]:
    """Check the manifest of an exchange, then return its lines with their numbers, the first being 1.

    The manifest is checked before this returns; the lines are read as they are taken. A line longer than
    `MAXIMUM_LINE` comes as its first octets only, so that its reader refuses it.

    Raises:
        InputRejected, SignatureInvalid, ConfigurationInvalid: as `read_manifest` raises them.
    """
    manifest = read_manifest(directory, purpose=purpose, trusted=trusted)
    names = [file.name for file in manifest.files]
    if names != [name]:
        raise InputRejected(
            "the manifest lists other files", place=str(directory), value=names, rule=f"just {name}"
        )
    return _read_lines(directory / name)


def _write_lines(directory: Path, name: str, lines: Iterable[bytes]) -> int:
    remove_manifest(directory)
    count = 0
    next_look = 0.0
    with durable_file(directory / name) as file:
        for count, line in enumerate(lines, 1):  # noqa: B007 - the last count is the result
            file.write(line)
            if time.monotonic() > next_look:
                trio.from_thread.check_cancelled()
                next_look = time.monotonic() + CANCELLATION_INTERVAL
    return count


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb", buffering=READ_AHEAD) as file:
        for number, line in enumerate(iter(partial(file.readline, MAXIMUM_LINE), b""), 1):
            yield number, line
            if len(line) == MAXIMUM_LINE and not line.endswith(b"\n"):
                _skip_line(file.readline)


def _skip_line(readline: Callable[[int], bytes]) -> None:
    """Read to the end of a line that is too long."""
    while (rest := readline(MAXIMUM_LINE)) and not rest.endswith(b"\n"):
        pass
