"""Fuzzing of everything that reads octets from outside: one target a file, named in `TARGETS`.

A target has `seeds()`, good inputs made on the spot, and `attempt(octets)`: True when all of them were read,
False when they were refused as documented. Any other exception is a finding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

TARGETS = (
    "act_file",
    "card_keys",
    "cms_signature",
    "connection",
    "der_elements",
    "feed_listings",
    "feed_piece",
    "feed_question",
    "manifest_json",
    "ocsp_request",
    "ocsp_url",
    "public_key",
    "register_extract",
    "status_records",
)


class Target(NamedTuple):
    """A reader under test."""

    name: str
    seeds: Callable[[], list[bytes]]
    attempt: Callable[[bytes], bool]


def target(name: str) -> Target:
    """Import a target; what it reads with is imported with it."""
    module = importlib.import_module(f"tests.fuzz_parsers.{name}")
    return Target(name, module.seeds, module.attempt)
