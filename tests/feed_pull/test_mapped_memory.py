"""The memory that a store takes in the process that copies it."""

from __future__ import annotations

import random
from pathlib import Path

from engine.status.mapped_memory import MappedFile
from engine.status.status_store import Freshness
from engine.status.status_store_writer import CopyPosition, PackedCard, StatusWriter

SEED = 20261123
CARDS = 4_000
OCTETS = 700


def resident(path: Path) -> int:
    """Octets of a file that are mapped into this process, as the kernel counts them."""
    octets, is_meant = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            is_meant = fields[-1] == str(path.resolve())
        elif is_meant and fields[0] == "Rss:":
            octets += int(fields[1]) * 1024
    return octets


def test_a_store_that_is_let_go_of_takes_no_memory_and_says_the_same(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    cards = [
        PackedCard(card, chance.randbytes(OCTETS), 0, (chance.randbytes(16), chance.randbytes(16)))
        for card in range(CARDS)
    ]
    writer = StatusWriter(tmp_path)
    try:
        writer.write_copied(cards, CopyPosition(Freshness(1, 1), "ab", None))
        written = [card.octets for card in cards]
        assert writer.packed(range(CARDS)) == written
        assert writer.packed(range(100)) == written[:100]  # too few for the store to let go by itself
        assert resident(tmp_path / "data.mdb") > 0
        MappedFile(tmp_path / "data.mdb").release()
        assert resident(tmp_path / "data.mdb") == 0
        assert writer.packed(range(100)) == written[:100]
        assert writer.position() == (Freshness(1, 1), "ab", None)
    finally:
        writer.close()


def test_a_file_that_is_not_mapped_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    MappedFile(path).release()
    assert path.read_bytes() == b"content"
