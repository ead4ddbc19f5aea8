"""Taking in a card file: its manifest, its lines, and a check of every public key on all cores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from engine.issuance.card_exchange.card_keys import CardRejected, read_card_keys
from engine.issuance.card_exchange.key_checks import CheckedCard, check_keys
from engine.issuance.manifest import MANIFEST_NAME
from engine.issuance.staging import Repeated, Stage, StagedCard
from engine.x509.public_keys import PublicKeyRules, check_public_key

CardReject = tuple[int, str | None, str, str | None, str]
"""Line, card number, reason, field and detail: a line of the card file in the reject report."""


def key_digest(rules: PublicKeyRules, public_key: bytes) -> bytes:
    """Check a public key and return its digest; runs in a process of its own.

    Raises:
        InputRejected: the key breaks a rule.
    """
    return check_public_key(public_key, rules).key_digest


def card_file_digest(directory: Path) -> bytes:
    """Return the SHA-256 of a card file's manifest, which in turn binds every file of it."""
    return hashlib.sha256((directory / MANIFEST_NAME).read_bytes()).digest()


def take_in_cards(
    stage: Stage,
    directory: Path,
    *,
    trusted: Sequence[bytes],
    rules: PublicKeyRules,
    processes: int,
    reject: Callable[[CardReject], None],
) -> int:
    """Put the cards of a card file on the stage, and say which cannot be used.

    Args:
        stage: takes the good cards.
        directory: holds the card file and its manifest.
        trusted: the card centre's certificates (DER).
        rules: what a public key must keep.
        processes: how many processes check keys.
        reject: called with each line that cannot be used.

    Returns:
        How many lines the file has.

    Raises:
        InputRejected, SignatureInvalid: the manifest is wrong; nothing was taken.
    """
    lines = 0

    def good() -> Iterator[StagedCard]:
        nonlocal lines
        cards = read_card_keys(directory, trusted=trusted)
        for outcome in check_keys(cards, partial(key_digest, rules), processes):
            lines += 1
            if isinstance(outcome, CardRejected):
                reject(_rejected(outcome))
            else:
                yield _staged(outcome)

    stage.add_cards(good())
    stage.sort_cards()
    for repeated in stage.drop_repeated():
        reject(_repeated(repeated))
    return lines


def _staged(checked: CheckedCard[bytes]) -> StagedCard:
    card = checked.card
    keys = tuple((usage, key, checked.keys[usage]) for usage, key in card.keys.items())
    return StagedCard(card.line, card.identifier, card.kind, card.rank, card.card_number, keys)


def _rejected(rejected: CardRejected) -> CardReject:
    found = "" if rejected.value is None else f" (found {rejected.value!r})"
    reason = "public-key-refused" if rejected.field.startswith("keys.") else "card-line-wrong"
    return rejected.line, rejected.card_number, reason, rejected.field or None, rejected.rule + found


def _repeated(repeated: Repeated) -> CardReject:
    reason = "card-number-repeated" if repeated.field == "card_number" else "public-key-repeated"
    detail = f"line {repeated.first_line} of the same file has it already (found {repeated.value})"
    return repeated.line, repeated.number, reason, repeated.field, detail
