"""A second process at a status store, for LMDB lets a process open a store only once.

    python -m tests.status.store_process DIRECTORY

Does what each line on its standard input says, and answers it with a line:

    write N     put all cards in at revision N, with N as the sequence, in one transaction
    endless N   the same for N, N + 1, ... until it is killed; answers after each
    parties F   put in the issuers and responders that a file has
    read        open the store; answers with its sequence
    hold        begin to read, and do not end
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from engine.errors import StoreError
from engine.status.card_record import NO_REASON, CardRecord, CertificateStanding
from engine.status.status_store import Freshness, StatusReader, current_generation, open_environment
from engine.status.status_store_writer import StatusWriter, open_current

CARDS = 300
"""Enough for a transaction to take milliseconds, so that a kill comes in the middle of one."""

FILLING = b"answer" * 60


def serial_of(card: int, place: int) -> bytes:
    return b"\x40" + card.to_bytes(8, "big") + place.to_bytes(7, "big")


def record_at(revision: int, card: int) -> CardRecord:
    certificates = tuple(
        CertificateStanding(serial_of(card, place), 0, 0, NO_REASON, 2_000_000_000) for place in (0, 1)
    )
    return CardRecord(revision, 0, certificates, FILLING)


def write_all(writer: StatusWriter, revision: int) -> None:
    """Put every card in at a revision."""
    records = [(card, record_at(revision, card)) for card in range(1, CARDS + 1)]
    writer.write(records, Freshness(revision, revision))


def main(directory: Path) -> None:
    writer: StatusWriter | None = None
    reader: StatusReader | None = None
    held = []
    for line in sys.stdin:
        what, _, told = line.strip().partition(" ")
        if what == "hold":
            held.append(open_environment(current_generation(directory), writer=False).begin())
            print("held", flush=True)
            continue
        if what == "read":
            try:
                reader = reader or StatusReader(directory)
                print(reader.freshness().sequence, flush=True)
            except StoreError as error:
                print(error, flush=True)
            continue
        writer = writer or open_current(directory)
        assert writer is not None
        if what == "parties":
            writer.write([], writer.freshness(), Path(told).read_bytes())
            print("done", flush=True)
            continue
        for revision in itertools.count(int(told)) if what == "endless" else [int(told)]:
            write_all(writer, revision)
            print(revision, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
