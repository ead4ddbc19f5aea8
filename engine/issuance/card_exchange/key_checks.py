"""Check the public keys of many cards on all cores (CPS 6.1.6); what a check is, is the caller's business."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from engine.errors import InputRejected, SealmintError
from engine.issuance.card_exchange.card_keys import CardKeys, CardRejected, rejected
from engine.issuance.card_exchange.map_in_order import map_in_order
from engine.kinds import Usage

CheckedKey = TypeVar("CheckedKey")

CHUNK = 256
"""Cards that travel to a process at once: some 10 ms of work at 18 µs a key, far more than the journey
costs. A guess."""

CHUNKS_AHEAD = 3
"""Chunks in work or waiting for each process; more would only hold memory. A guess."""


class CheckedCard(NamedTuple, Generic[CheckedKey]):
    """A card all of whose keys passed, and what the check returned for each of them."""

    card: CardKeys
    keys: Mapping[Usage, CheckedKey]


def check_keys(
    cards: Iterable[CardKeys | CardRejected], check: Callable[[bytes], CheckedKey], processes: int
) -> Iterator[CheckedCard[CheckedKey] | CardRejected]:
    """Check every key of every card in processes of their own; the order is kept, and so is every card.

    Cards are taken only as verdicts are: at most `processes * CHUNKS_AHEAD + 1` chunks are in memory. What was
    rejected before comes out as it went in; a card with a bad key comes out rejected, with the field `keys.<usage>`
    and the rule.

    Args:
        cards: such as `read_card_keys` returns them.
        check: takes a DER SubjectPublicKeyInfo and raises InputRejected if it must not be certified. It and what it
            returns travel between processes: a function of a module, and a value that can be pickled.
        processes: how many check at the same time. They are started by spawn, since an initialised PKCS#11 module does
            not survive a fork.

    Raises:
        SealmintError: a checking process died.
    """
    chunks: deque[list[CardKeys | CardRejected]] = deque()

    def outgoing() -> Iterator[list[tuple[bytes, ...]]]:
        for chunk in _chunks(cards):
            chunks.append(chunk)
            yield [tuple(card.keys.values()) if isinstance(card, CardKeys) else () for card in chunk]

    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _leave_interrupts_to_parent
    ) as executor:
        work = map_in_order(executor, partial(_check_chunk, check), outgoing(), processes * CHUNKS_AHEAD)
        try:
            with closing(work) as checked:
                for verdicts in checked:
                    for card, verdict in zip(chunks.popleft(), verdicts, strict=True):
                        yield _outcome(card, verdict)
        except BrokenProcessPool as error:
            raise SealmintError("a process that checks public keys died; start again") from error


def _chunks(cards: Iterable[CardKeys | CardRejected]) -> Iterator[list[CardKeys | CardRejected]]:
    remaining = iter(cards)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _leave_interrupts_to_parent() -> None:
    """A Ctrl-C reaches the whole process group; only the parent may act on it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_chunk(
    check: Callable[[bytes], CheckedKey], cards: list[tuple[bytes, ...]]
) -> list[tuple[CheckedKey | InputRejected, ...]]:
    """Check the keys of a chunk of cards; runs in a process of its own."""
    return [tuple(_verdict(check, key) for key in keys) for keys in cards]


def _verdict(check: Callable[[bytes], CheckedKey], key: bytes) -> CheckedKey | InputRejected:
    try:
        return check(key)
    except InputRejected as error:
        return error


def _outcome(
    card: CardKeys | CardRejected, verdicts: tuple[CheckedKey | InputRejected, ...]
) -> CheckedCard[CheckedKey] | CardRejected:
    if isinstance(card, CardRejected):
        return card
    keys: dict[Usage, CheckedKey] = {}
    for usage, verdict in zip(card.keys, verdicts, strict=True):
        if isinstance(verdict, InputRejected):
            verdict.place = f"keys.{usage.value}"
            return rejected(card.line, card.card_number, verdict)
        keys[usage] = verdict
    return CheckedCard(card, keys)
