"""What comes in from the card centre: card numbers and the public keys made inside the cards (CPS 1.3.3, 6.1.1.1)."""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.errors import InputRejected
from engine.issuance.card_exchange.row_fields import (
    KINDS,
    RANKS,
    USAGES_OF_KIND,
    Row,
    card_number,
    check_fields,
    choice,
    parse_row,
    text,
)
from engine.issuance.card_exchange.signed_lines import json_line, read_signed_lines
from engine.kinds import Kind, Rank, Usage

PURPOSE = "card-keys"
FILE_NAME = "card-keys.jsonl"


class CardKeys(NamedTuple):
    """A card as the card centre made it.

    `identifier` is the entity's in the register; `keys` holds a DER SubjectPublicKeyInfo for each usage, not yet
    looked into; `line` is its line in the file, 0 before it was written.
    """

    card_number: str
    kind: Kind
    identifier: str
    rank: Rank
    keys: Mapping[Usage, bytes]
    line: int = 0


class CardRejected(NamedTuple):
    """A card that cannot be used: its line, its card number if it has one, and which field broke which rule.

    `field` is empty if the whole line is meant; `value` is what was found there, shortened, None if it says nothing.
    """

    line: int
    card_number: str | None
    field: str
    rule: str
    value: str | None


SHOWN = 120
"""Characters of a wrong value that a rejection shows, as many as an error shows."""

FIELDS = frozenset({"card_number", "kind", "identifier", "rank", "keys"})


def read_card_keys(directory: Path, *, trusted: Sequence[bytes]) -> Iterator[CardKeys | CardRejected]:
    """Check the manifest, then return the cards one after the other in the order of the file, good and bad.

    A card number that comes twice is not found here but by the database, which sees all files.

    Args:
        directory: holds `card-keys.jsonl`, its manifest and the signature.
        trusted: the card centre's certificates, DER.

    Raises:
        InputRejected, SignatureInvalid, ConfigurationInvalid: as `read_manifest` raises them, before anything is
            returned. A bad line raises nothing.
    """
    lines = read_signed_lines(directory, FILE_NAME, purpose=PURPOSE, trusted=trusted)
    return (_card(number, line) for number, line in lines)


def card_keys_line(card: CardKeys) -> bytes:
    """Return a card as a line of the file."""
    return json_line(
        {
            "card_number": card.card_number,
            "kind": card.kind.value,
            "identifier": card.identifier,
            "rank": card.rank.value,
            "keys": {usage.value: b64encode(key).decode() for usage, key in card.keys.items()},
        }
    )


def _card(number: int, line: bytes) -> CardKeys | CardRejected:
    row: Row = {}
    try:
        row = parse_row(line)
        check_fields(row, FIELDS)
        kind = choice(row, "kind", KINDS)
        keys = _keys(row["keys"], kind)
        return CardKeys(
            card_number(row), kind, text(row, "identifier"), choice(row, "rank", RANKS), keys, number
        )
    except InputRejected as error:
        named = row.get("card_number")
        return rejected(number, named if isinstance(named, str) else None, error)


def rejected(line: int, card_number: str | None, error: InputRejected) -> CardRejected:
    """Turn what a check raised about one card into its rejection; the error's place is the field."""
    value = None if error.value is None else str(error.value)[:SHOWN]
    number = None if card_number is None else card_number[:SHOWN]
    rule = error.message if error.rule is None else f"{error.message}: {error.rule}"
    return CardRejected(line, number, error.place or "", rule, value)


def _keys(value: object, kind: Kind) -> Mapping[Usage, bytes]:
    """Decode the public keys, of which there is one for each usage of the kind."""
    if not isinstance(value, dict):
        raise InputRejected(
            "not a JSON object", place="keys", value=value, rule="a public key for each usage"
        )
    usages = USAGES_OF_KIND[kind]
    check_fields(value, usages.keys(), "keys.")
    keys: dict[Usage, bytes] = {}
    name = ""
    try:
        for name, usage in usages.items():
            keys[usage] = a2b_base64(value[name], strict_mode=True)
    except (TypeError, ValueError) as error:
        rule = "base64 (RFC 4648 section 4) of a SubjectPublicKeyInfo"
        raise InputRejected("not base64", place=f"keys.{name}", value=value[name], rule=rule) from error
    first, *others = keys.values()
    if first in others:
        raise InputRejected(
            "one key for two usages", place="keys", rule="a card holds two key pairs (CPS 1.3.5.1)"
        )
    return keys
