"""Spools written out by hand."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from engine.clock import TAIPEI

A, B = "00000000000000aa", "00000000000000bb"
"""Two writers."""


def at(text: str) -> int:
    """A moment in Taipei: `2026-09-30 23:59`."""
    return int(datetime.fromisoformat(text).replace(tzinfo=TAIPEI).timestamp())


def line(when: str, account: str, answers: int, refused: int = 0) -> bytes:
    text = f'{{"at":{at(when)},"account":"{account}","answers":{answers},"refused":{refused}}}\n'
    return text.encode()


def append(directory: Path, name: str, *lines: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / name).open("ab") as file:
        file.write(b"".join(lines))
