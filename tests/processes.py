"""A running process as proc(5) shows it, which goes on while it is looked at."""

from __future__ import annotations

from pathlib import Path


def open_files(pid: int) -> dict[str, str]:
    """The targets of a process's open descriptors, by their numbers.

    The process goes on opening and closing while it is looked at: a descriptor closed before it is read is left out.

    Raises:
        PermissionError: whoever asks may not look into it.
    """
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except FileNotFoundError:
            continue
    return found


def opened_as(pid: int, descriptor: str) -> int | None:
    """The flags an open descriptor has (open(2)), or None where it is closed since."""
    try:
        told = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
    except FileNotFoundError:
        return None
    return int(told.split("flags:")[1].split()[0], 8)


def children_of(pid: int) -> list[int]:
    """The children of a process, by their numbers; none where it has ended."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in children.read_text().split()]
        except OSError:  # the thread has ended since
            continue
    return sorted(found)


def command_line(pid: int) -> bytes:
    """The arguments of a process, each with a zero after it; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
