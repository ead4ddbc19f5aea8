"""Secrets of a home, and looking for them in every spelling that a program might write one in."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

SHORTEST_SPELLING = 6
"""Octets of a spelling that is looked for: shorter ones turn up by chance."""


def secrets_of(home: Path) -> dict[str, bytes]:
    """The contents of a home's secret files, by name; of a PEM file the first line of its key."""
    found = {}
    for path in [*(home / "secrets").iterdir(), *(home / "card-centre").glob("*key*")]:
        lines = path.read_bytes().splitlines()
        found[path.name] = lines[1] if lines[0].startswith(b"-----") else lines[0]
    return found


def spellings(secret: bytes) -> set[bytes]:
    """A secret as it is, in hexadecimal, and in base64, wherever in a longer text it begins."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        # Characters that only octets of the secret decide: six bits each, from the first whole one to the last.
        first, last = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(b"\0" * before + secret)[first:last])
    assert min(map(len, found)) >= SHORTEST_SPELLING
    return found


def found_in(octets: bytes, secrets: dict[str, bytes]) -> list[str]:
    """The names of the secrets that stand in some octets, in whatever spelling."""
    return [name for name, secret in secrets.items() if any(spelt in octets for spelt in spellings(secret))]
