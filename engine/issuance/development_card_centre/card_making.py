"""Make a batch of development cards: numbers, public keys, and the signed manifest over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from engine.errors import InputRejected
from engine.issuance.card_exchange.card_keys import FILE_NAME, PURPOSE, CardKeys, card_keys_line
from engine.issuance.card_exchange.row_fields import USAGES_OF_KIND
from engine.issuance.card_exchange.signed_lines import write_signed_lines
from engine.issuance.development_card_centre.card_centre import CardCentre
from engine.issuance.development_card_centre.public_keys import real_public_keys, synthetic_public_keys
from engine.issuance.development_card_centre.used_numbers import UsedNumbers, open_used_numbers
from engine.kinds import Kind, Rank

CARD_NUMBERS = 10**14
"""There are fourteen digits."""

CARD_LETTERS = "MG"
"""The two letters before them, as on the one card number that is publicly known (GPKI profile, "Card numbers")."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress. A guess."""

REAL: dict[str, JsonValue] = {
    "synthetic": False,
    "keys": "RSA-2048 key pairs, private keys discarded: no chip",
}
SYNTHETIC: dict[str, JsonValue] = {
    "synthetic": True,
    "keys": "moduli that share primes: for load runs, never for real cards",
}


class CardRequest(NamedTuple):
    """A card to make: the kind of its certificates, whose it is (the entity's identifier), and its rank."""

    kind: Kind
    identifier: str
    rank: Rank


async def make_card_keys(
    directory: Path,
    requests: Iterable[CardRequest],
    *,
    centre: CardCentre,
    synthetic: bool,
    processes: int,
    first_card_number: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Make cards in the order of the requests and write `card-keys.jsonl` with its signed manifest.

    Real keys are RSA-2048 key pairs of their own; synthetic ones are cheap, distinct and valid in form, but share
    primes (see `synthetic_public_keys`), which the manifest says under `details`. The requests are taken in a thread
    of their own. If cancelled, it stops after the card in work and there is no manifest; numbers of cards that were
    not all made come again.

    Args:
        directory: made if need be; an older batch in it is replaced.
        requests: any number of cards.
        centre: the open card centre; only one command at a time can make cards there.
        synthetic: cheap keys for load runs.
        processes: how many keys are made at the same time (in threads: OpenSSL leaves the interpreter's lock).
        first_card_number: the digits of the first card number; None goes on after the highest used before.
        progress: called from the thread with the cards made so far, a few times a second and at the end.

    Returns:
        The number of cards.

    Raises:
        HomeUnusable: directory or card centre cannot be written, or another command makes cards there.
        InputRejected: the card numbers are used up, or the directory holds another file.
    """
    with open_used_numbers(centre.directory) as used:
        lines = _lines(requests, centre.directory, used, synthetic, processes, first_card_number)
        return await write_signed_lines(
            directory,
            FILE_NAME,
            _reported(lines, progress),
            purpose=PURPOSE,
            details=SYNTHETIC if synthetic else REAL,
            certificate=centre.certificate,
            chain=(),
            now=centre.clock.now(),
            sign=centre.sign,
        )


def _lines(
    requests: Iterable[CardRequest],
    centre: Path,
    used: UsedNumbers,
    synthetic: bool,
    threads: int,
    first_card_number: int | None,
) -> Iterator[bytes]:
    """Make the cards; the numbers used are saved after the last one, before the file gets its name."""
    number = used.next_card_number if first_card_number is None else first_card_number
    pair = used.next_prime_pair
    source = synthetic_public_keys(centre, threads, pair) if synthetic else real_public_keys(threads)
    with closing(source) as public_keys:
        for kind, identifier, rank in requests:
            keys = {usage: next(public_keys) for usage in USAGES_OF_KIND[kind].values()}
            yield card_keys_line(CardKeys(_card_number(number), kind, identifier, rank, keys))
            number += 1
            pair += len(keys)
    used.next_card_number = max(used.next_card_number, number)
    if synthetic:
        used.next_prime_pair = pair
    used.save(centre)


def _card_number(number: int) -> str:
    if not 0 <= number < CARD_NUMBERS:
        raise InputRejected("there is no such card number", value=number, rule="fourteen digits")
    return f"{CARD_LETTERS}{number:014d}"


def _reported(lines: Iterable[bytes], progress: Callable[[int], None] | None) -> Iterator[bytes]:
    """Pass the lines on, telling how many there were."""
    if progress is None:
        yield from lines
        return
    made = 0
    next_report = 0.0
    for made, line in enumerate(lines, 1):
        yield line
        if time.monotonic() >= next_report:
            progress(made)
            next_report = time.monotonic() + PROGRESS_INTERVAL
    progress(made)
