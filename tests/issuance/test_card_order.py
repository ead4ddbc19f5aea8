"""Orders to the card centre: written, read back, and refused line by line."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import SystemClock
from engine.errors import InputRejected
from engine.issuance.card_exchange import card_order
from engine.issuance.card_exchange.card_order import CardOrder, read_card_orders, write_card_orders
from engine.issuance.card_exchange.signed_lines import write_signed_lines
from engine.issuance.development_card_centre import CardCentre, open_card_centre
from engine.kinds import Kind, Rank

GOOD: dict[str, Any] = {
    "order": 1,
    "kind": "company",
    "identifier": "70759028",
    "name": "某某股份有限公司",
    "rank": "primary",
    "cards": 1,
}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> CardCentre:
    return open_card_centre(tmp_path_factory.mktemp("signer"), SystemClock())


async def write_orders(directory: Path, signer: CardCentre, orders: list[CardOrder]) -> int:
    return await write_card_orders(
        directory, orders, certificate=signer.certificate, chain=[], now=signer.clock.now(), sign=signer.sign
    )


async def write_lines(directory: Path, signer: CardCentre, lines: list[bytes]) -> None:
    await write_signed_lines(
        directory,
        card_order.FILE_NAME,
        lines,
        purpose=card_order.PURPOSE,
        details={},
        certificate=signer.certificate,
        chain=[],
        now=signer.clock.now(),
        sign=signer.sign,
    )


texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60)
orders = st.builds(
    CardOrder,
    order=st.integers(1, 2**63 - 1),
    kind=st.sampled_from(Kind),
    identifier=texts,
    name=texts,
    rank=st.sampled_from(Rank),
    cards=st.integers(1, card_order.MAXIMUM_CARDS),
)


@settings(max_examples=30)  # each writes three files durably
@given(st.lists(orders, max_size=5))
def test_orders_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, signer: CardCentre, written: list[CardOrder]
) -> None:
    directory = tmp_path_factory.mktemp("orders")
    assert trio.run(write_orders, directory, signer, written) == len(written)
    assert list(read_card_orders(directory, trusted=[signer.certificate])) == written


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order", 0),
        ("order", True),
        ("order", "1"),
        ("cards", 0),
        ("cards", card_order.MAXIMUM_CARDS + 1),
        ("cards", 1.0),
        ("kind", "server"),
        ("name", ""),
        ("rank", "third"),
        ("address", "x"),
    ],
)
async def test_bad_order_is_named_with_its_line(
    tmp_path: Path, signer: CardCentre, field: str, value: object
) -> None:
    lines = [json.dumps(each).encode() + b"\n" for each in (GOOD, {**GOOD, field: value})]
    await write_lines(tmp_path, signer, lines)
    read = read_card_orders(tmp_path, trusted=[signer.certificate])
    assert next(read).name == GOOD["name"]
    with pytest.raises(InputRejected) as raised:
        next(read)
    assert raised.value.place == f"{tmp_path / card_order.FILE_NAME} line 2 {field}"


async def test_directory_with_a_strange_file_gets_no_manifest(tmp_path: Path, signer: CardCentre) -> None:
    await trio.Path(tmp_path / "strange").touch()
    with pytest.raises(InputRejected, match="strange"):
        await write_orders(tmp_path, signer, [])
    with pytest.raises(InputRejected, match="cannot be read"):
        read_card_orders(tmp_path, trusted=[signer.certificate])
