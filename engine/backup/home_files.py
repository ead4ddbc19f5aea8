"""Which files of a home belong into a backup, and in which order.

Named is what goes in, so that what is new in a home stays out until somebody decides: never the token, PINs, private
keys, locks, sockets, nor the status store, which is made anew out of the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from engine.config import CONFIGURATION_NAME

BEFORE_RECORD = ("crl",)
"""A CRL is reserved in the record before it is signed: of files taken first, the record knows every one."""

AFTER_RECORD = ("certificates", "audit", "runs", "feed", "usage", "capacity", "card-centre")
"""Records say what is in these files, and files grow: taken afterwards, they hold all that any record speaks of."""

FIRST = ("certificates", "crl")
"""What the repository needs to come back (CPS 4.8.1)."""

_SECRET_OR_PASSING = (".key", ".lock", ".partial")


def files_of(home: Path, directories: tuple[str, ...]) -> Iterator[str]:
    """Yield the names of the files in some directories of a home, relative to it."""
    for directory in directories:
        for path in sorted((home / directory).rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix not in _SECRET_OR_PASSING:
                yield str(path.relative_to(home))


def files_beside(home: Path) -> Iterator[str]:
    """Yield the names of the files in a home's own directory: the configuration, and a profile file."""
    for path in sorted(home.glob("*.toml")):
        if path.name != CONFIGURATION_NAME:
            yield path.name
    yield CONFIGURATION_NAME


def is_first(name: str) -> bool:
    """Whether a file is of those that come back first, profiles beside the configuration among them."""
    directory, _, rest = name.partition("/")
    return directory in FIRST if rest else name != CONFIGURATION_NAME
