"""Key checks in processes: nothing lost, nothing reordered, nothing taken far ahead."""

import os
from collections.abc import Iterator

import pytest

from engine.errors import InputRejected, SealmintError
from engine.issuance.card_exchange.card_keys import CardKeys, CardRejected
from engine.issuance.card_exchange.key_checks import CHUNK, CHUNKS_AHEAD, CheckedCard, check_keys
from engine.kinds import Kind, Rank, Usage


def length(key: bytes) -> tuple[int, int]:
    """A check: the length of a key, refused when odd, and who counted."""
    if len(key) % 2:
        raise InputRejected("odd length", value=len(key), rule="even")
    return len(key), os.getpid()


def dies(key: bytes) -> None:
    os._exit(1)


def card(number: int, signature: int = 2, encryption: int = 4) -> CardKeys:
    keys = {Usage.SIGNATURE: bytes(signature), Usage.ENCRYPTION: bytes(encryption)}
    return CardKeys(f"MG{number:014d}", Kind.COMPANY, "1", Rank.PRIMARY, keys, number)


def rejected(number: int) -> CardRejected:
    return CardRejected(number, None, "", "not JSON", None)


def test_every_card_comes_out_in_order_with_its_verdict() -> None:
    total = 3 * CHUNK + 1
    cards = [rejected(n) if n % 7 == 0 else card(n, signature=n % 3 + 1) for n in range(total)]
    outcomes = list(check_keys(cards, length, 2))
    assert len(outcomes) == total
    for given, outcome in zip(cards, outcomes, strict=True):
        if isinstance(given, CardRejected):
            assert outcome is given
        elif len(given.keys[Usage.SIGNATURE]) % 2:
            assert outcome == CardRejected(
                given.line,
                given.card_number,
                "keys.signature",
                "odd length: even",
                str(len(given.keys[Usage.SIGNATURE])),
            )
        else:
            assert isinstance(outcome, CheckedCard)
            assert outcome.card is given
            assert [checked[0] for checked in outcome.keys.values()] == [2, 4]
            assert os.getpid() not in {checked[1] for checked in outcome.keys.values()}


def test_second_key_is_named_too() -> None:
    (outcome,) = check_keys([card(1, encryption=3)], length, 1)
    assert isinstance(outcome, CardRejected)
    assert outcome.field == "keys.encryption"


def test_cards_are_taken_only_as_verdicts_are() -> None:
    taken = 0

    def endless() -> Iterator[CardKeys]:
        nonlocal taken
        while True:
            taken += 1
            yield card(taken)

    outcomes = check_keys(endless(), length, 1)
    for _ in range(CHUNK + 1):
        next(outcomes)
    assert taken <= (CHUNKS_AHEAD + 2) * CHUNK


def test_no_cards_no_verdicts() -> None:
    assert list(check_keys([], length, 1)) == []


def test_dying_process_is_reported() -> None:
    with pytest.raises(SealmintError, match="died"):
        list(check_keys([card(1)], dies, 1))
