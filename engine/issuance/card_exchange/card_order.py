"""What goes out to the card centre: which cards to make and for whom (CPS 1.3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from engine.authority.detached_signature import Sign
from engine.errors import InputRejected
from engine.issuance.card_exchange.row_fields import KINDS, RANKS, check_fields, choice, parse_row, text
from engine.issuance.card_exchange.signed_lines import json_line, read_signed_lines, write_signed_lines
from engine.kinds import Kind, Rank

PURPOSE = "card-orders"
FILE_NAME = "orders.jsonl"

MAXIMUM_CARDS = 1000
"""Cards that one order asks for at most; guards against a slip of the pen. A guess."""


class CardOrder(NamedTuple):
    """An order for the cards of one entity and rank.

    `order` is the number of the order, unique in its file; `identifier` is the entity's in the register, `name` its
    registered name; `cards` is how many to make.
    """

    order: int
    kind: Kind
    identifier: str
    name: str
    rank: Rank
    cards: int


FIELDS = frozenset(CardOrder._fields)


async def write_card_orders(
    directory: Path,
    orders: Iterable[CardOrder],
    *,
    certificate: bytes,
    chain: Sequence[bytes],
    now: datetime,
    sign: Sign,
) -> int:
    """Write the orders and their manifest; return how many there are.

    Arguments, errors and cancellation are those of `write_signed_lines`.
    """
    return await write_signed_lines(
        directory,
        FILE_NAME,
        map(_line, orders),
        purpose=PURPOSE,
        details={},
        certificate=certificate,
        chain=chain,
        now=now,
        sign=sign,
    )


def read_card_orders(directory: Path, *, trusted: Sequence[bytes]) -> Iterator[CardOrder]:
    """Check the manifest, then return the orders one after the other.

    Raises:
        InputRejected, SignatureInvalid, ConfigurationInvalid: as `read_manifest` raises them, at once.
        InputRejected: a line is wrong, when it is reached. Orders are ours, so a wrong one is a defect and stops all.
    """
    lines = read_signed_lines(directory, FILE_NAME, purpose=PURPOSE, trusted=trusted)
    return (_order(directory / FILE_NAME, number, line) for number, line in lines)


def _line(order: CardOrder) -> bytes:
    return json_line({**order._asdict(), "kind": order.kind.value, "rank": order.rank.value})


def _order(path: Path, number: int, line: bytes) -> CardOrder:
    try:
        row = parse_row(line)
        check_fields(row, FIELDS)
        return CardOrder(
            order=_count(row["order"], "order", 2**63 - 1),
            kind=choice(row, "kind", KINDS),
            identifier=text(row, "identifier"),
            name=text(row, "name"),
            rank=choice(row, "rank", RANKS),
            cards=_count(row["cards"], "cards", MAXIMUM_CARDS),
        )
    except InputRejected as error:
        error.place = f"{path} line {number} {error.place or ''}".rstrip()
        raise


def _count(value: object, field: str, maximum: int) -> int:
    if type(value) is not int or not 1 <= value <= maximum:
        raise InputRejected(
            "not such a number", place=field, value=value, rule=f"a number from 1 to {maximum}"
        )
    return value
