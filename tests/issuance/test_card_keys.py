"""The card-centre file: every line comes out once, as a card or with the field and the rule it breaks."""

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.clock import SystemClock
from engine.errors import InputRejected, SignatureInvalid
from engine.issuance.card_exchange import card_keys
from engine.issuance.card_exchange.card_keys import CardKeys, CardRejected, card_keys_line, read_card_keys
from engine.issuance.card_exchange.signed_lines import MAXIMUM_LINE, write_signed_lines
from engine.issuance.development_card_centre import CardCentre, open_card_centre
from engine.kinds import Kind, Rank, Usage

GOOD: dict[str, Any] = {
    "card_number": "MG00000000000005",
    "kind": "company",
    "identifier": "70759028",
    "rank": "primary",
    "keys": {"signature": b64encode(b"first").decode(), "encryption": b64encode(b"second").decode()},
}
CARD = CardKeys(
    "MG00000000000005",
    Kind.COMPANY,
    "70759028",
    Rank.PRIMARY,
    {Usage.SIGNATURE: b"first", Usage.ENCRYPTION: b"second"},
    line=1,
)


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> CardCentre:
    return open_card_centre(tmp_path_factory.mktemp("centre"), SystemClock())


def exchange(directory: Path, centre: CardCentre, lines: Sequence[bytes], **changed: Any) -> None:
    """Write the lines as a signed exchange, good or bad."""
    options = {"purpose": card_keys.PURPOSE, "name": card_keys.FILE_NAME, **changed}
    write = partial(
        write_signed_lines,
        directory,
        lines=lines,
        details={},
        certificate=centre.certificate,
        chain=[],
        now=centre.clock.now(),
        sign=centre.sign,
        **options,
    )
    trio.run(write)


def read(directory: Path, centre: CardCentre) -> list[CardKeys | CardRejected]:
    return list(read_card_keys(directory, trusted=[centre.certificate]))


def row(**changed: object) -> bytes:
    return json.dumps({**GOOD, **changed}, ensure_ascii=False).encode() + b"\n"


def read_line(tmp_path: Path, centre: CardCentre, line: bytes) -> CardKeys | CardRejected:
    exchange(tmp_path, centre, [line])
    (outcome,) = read(tmp_path, centre)
    return outcome


def test_good_line(tmp_path: Path, centre: CardCentre) -> None:
    assert read_line(tmp_path, centre, row()) == CARD


def test_last_line_may_lack_its_line_feed(tmp_path: Path, centre: CardCentre) -> None:
    assert read_line(tmp_path, centre, row().rstrip()) == CARD


@pytest.mark.cps("1.3.5.1")
@pytest.mark.parametrize("kind", Kind)
def test_keys_are_those_of_the_kind(tmp_path: Path, centre: CardCentre, kind: Kind) -> None:
    both, one = GOOD["keys"], {"signature": GOOD["keys"]["signature"]}
    exchange(tmp_path, centre, [row(kind=kind.value, keys=both), row(kind=kind.value, keys=one)])
    accepted = [isinstance(outcome, CardKeys) for outcome in read(tmp_path, centre)]
    assert accepted == ([False, True] if kind in (Kind.ONE_STOP, Kind.SETUP) else [True, False])


BAD_FIELDS: list[tuple[str, str, object]] = [
    ("card_number", "card_number", "MG0000000000005"),
    ("card_number", "card_number", "mg00000000000005"),
    ("card_number", "card_number", "MG00000000000005\n"),
    ("card_number", "card_number", "MG0000000000000\u0665"),
    ("card_number", "card_number", 5),
    ("kind", "kind", "server"),
    ("kind", "kind", ["company"]),
    ("identifier", "identifier", ""),
    ("identifier", "identifier", " \u3000"),
    ("identifier", "identifier", "7075\x009028"),
    ("identifier", "identifier", "7" * 257),
    ("identifier", "identifier", 70759028),
    ("rank", "rank", "tertiary"),
    ("rank", "rank", None),
    ("keys", "keys", []),
    ("keys.encryption", "keys", {"signature": "Zmlyc3Q="}),
    ("keys.authentication", "keys", {**GOOD["keys"], "authentication": "Zmlyc3Q="}),
    ("keys.signature", "keys", {**GOOD["keys"], "signature": "Zmlyc3Q"}),
    ("keys.signature", "keys", {**GOOD["keys"], "signature": "Zmly\nc3Q="}),
    ("keys.signature", "keys", {**GOOD["keys"], "signature": "Zmlyc3Q臺"}),
    ("keys.encryption", "keys", {**GOOD["keys"], "encryption": None}),
    ("keys", "keys", {"signature": "Zmlyc3Q=", "encryption": "Zmlyc3Q="}),
    ("surplus", "surplus", 1),
]


@pytest.mark.parametrize(("field", "name", "value"), BAD_FIELDS)
def test_bad_field_is_named(tmp_path: Path, centre: CardCentre, field: str, name: str, value: object) -> None:
    outcome = read_line(tmp_path, centre, row(**{name: value}))
    assert isinstance(outcome, CardRejected)
    assert (outcome.line, outcome.field) == (1, field)
    assert outcome.card_number == (
        GOOD["card_number"] if name != "card_number" else value if value != 5 else None
    )
    assert len(outcome.value or "") <= 120


@pytest.mark.parametrize("name", GOOD)
def test_missing_field_is_named(tmp_path: Path, centre: CardCentre, name: str) -> None:
    line = json.dumps({field: value for field, value in GOOD.items() if field != name}).encode()
    outcome = read_line(tmp_path, centre, line)
    assert isinstance(outcome, CardRejected)
    assert outcome.field == name


@pytest.mark.parametrize(
    "line", [b"\n", b"{\n", b"[]\n", b"null\n", b"\xff\n", b'"' + b"\xed\xa0\x80" + b'"\n', b"[" * 5000]
)
def test_line_that_is_no_object_costs_only_itself(tmp_path: Path, centre: CardCentre, line: bytes) -> None:
    exchange(tmp_path, centre, [line.rstrip(b"\n") + b"\n", row()])
    rejected, card = read(tmp_path, centre)
    assert isinstance(rejected, CardRejected)
    assert (rejected.line, rejected.card_number, rejected.field) == (1, None, "")
    assert card == CARD._replace(line=2)


@pytest.mark.parametrize("surplus", [0, 1, MAXIMUM_LINE - 1, MAXIMUM_LINE, 3 * MAXIMUM_LINE])
def test_line_too_long_costs_only_itself(tmp_path: Path, centre: CardCentre, surplus: int) -> None:
    long = row(identifier="7" * (MAXIMUM_LINE + surplus))
    exchange(tmp_path, centre, [row(), long, row()])
    first, rejected, last = read(tmp_path, centre)
    assert (first, last) == (CARD, CARD._replace(line=3))
    assert isinstance(rejected, CardRejected)
    assert rejected.line == 2


cards = st.builds(
    CardKeys,
    card_number=st.from_regex("[A-Z]{2}[0-9]{14}", fullmatch=True),
    kind=st.sampled_from([kind for kind in Kind if kind not in (Kind.ONE_STOP, Kind.SETUP)]),
    identifier=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=64),
    rank=st.sampled_from(Rank),
    keys=st.lists(st.binary(min_size=1), min_size=2, max_size=2, unique=True).map(
        lambda keys: dict(zip(Usage, keys, strict=True))
    ),
)
lines = st.one_of(
    cards.map(card_keys_line),
    st.binary(max_size=80).map(lambda line: line.replace(b"\n", b"") + b"\n"),
    st.dictionaries(st.sampled_from([*GOOD, "other"]), st.text(max_size=3)).map(
        lambda row: json.dumps(row).encode() + b"\n"
    ),
)


@settings(max_examples=40)  # each writes three files durably
@given(cards)
def test_written_card_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, centre: CardCentre, card: CardKeys
) -> None:
    directory = tmp_path_factory.mktemp("exchange")
    assert read_line(directory, centre, card_keys_line(card)) == card._replace(line=1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # each writes three files durably
@given(st.lists(lines, max_size=8))
def test_every_line_has_one_outcome(
    tmp_path_factory: pytest.TempPathFactory, centre: CardCentre, written: list[bytes]
) -> None:
    directory = tmp_path_factory.mktemp("exchange")
    exchange(directory, centre, written)
    assert [outcome.line for outcome in read(directory, centre)] == list(range(1, len(written) + 1))


def test_manifest_is_checked_before_anything_is_returned(tmp_path: Path, centre: CardCentre) -> None:
    exchange(tmp_path, centre, [row()])
    with (tmp_path / card_keys.FILE_NAME).open("ab") as file:
        file.write(row())
    with pytest.raises(InputRejected, match="size"):
        read_card_keys(tmp_path, trusted=[centre.certificate])
    with pytest.raises(SignatureInvalid):
        read_card_keys(tmp_path, trusted=[])


@pytest.mark.parametrize("changed", [{"purpose": "card-orders"}, {"name": "other.jsonl"}])
def test_exchange_of_another_kind_is_refused(
    tmp_path: Path, centre: CardCentre, changed: dict[str, str]
) -> None:
    exchange(tmp_path, centre, [row()], **changed)
    with pytest.raises(InputRejected):
        read_card_keys(tmp_path, trusted=[centre.certificate])


def test_older_exchange_in_the_directory_is_replaced(tmp_path: Path, centre: CardCentre) -> None:
    exchange(tmp_path, centre, [row(), row()])
    exchange(tmp_path, centre, [row()])
    assert read(tmp_path, centre) == [CARD]


def test_interrupted_writing_leaves_no_manifest(tmp_path: Path, centre: CardCentre) -> None:
    def interrupted() -> Any:
        yield row()
        raise KeyboardInterrupt

    exchange(tmp_path, centre, [row()])
    with pytest.raises(KeyboardInterrupt):
        exchange(tmp_path, centre, interrupted())
    with pytest.raises(InputRejected, match="cannot be read"):
        read_card_keys(tmp_path, trusted=[centre.certificate])
