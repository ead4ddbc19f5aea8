"""Every target, without coverage: its good inputs are read, bent ones are read or refused as documented."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz_parsers import TARGETS, target
from tests.spoilt_octets import spoilt

BENT = 300
FAVOURITES = b'\0\xff\x80\x30"{}[],:%/+=\r\n -'
"""Octets that mean something in DER, JSON, CSV, HTTP or base64."""


def test_every_target_is_named() -> None:
    found = {
        path.stem for path in Path(__file__).parent.glob("[!_]*.py") if "def attempt(" in path.read_text()
    }
    assert found - {"test_targets"} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_are_read_and_bent_ones_read_or_refused(name: str) -> None:
    reader = target(name)
    seeds = reader.seeds()
    assert all(reader.attempt(seed) for seed in seeds)
    choice = random.Random(name)
    read = sum(reader.attempt(spoilt(choice, choice.choice(seeds), FAVOURITES)) for _ in range(BENT))
    assert read < BENT
    reader.attempt(b"")
