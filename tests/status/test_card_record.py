"""A card as both stores keep it: nothing is lost, and an answer of other standings or certificates is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.status.card_record import (
    MOST_CERTIFICATES,
    NO_REASON,
    AnswerHead,
    CardRecord,
    CertificateStanding,
    answer_head,
    pack,
    pack_answer,
    record_of,
    serials_check,
    unpack,
    unpack_plainly,
)
from engine.store.schema import CertificateState
from engine.store.standings import CardStanding, Standing
from tests.status.answer_cases import cards, heads

SETTINGS = settings(derandomize=True, max_examples=150, deadline=None, database=None)
SECOND = 1_000_000
SERIALS = [bytes((0x40, number)) + bytes(14) for number in range(MOST_CERTIFICATES + 1)]


def standing(
    place: int,
    state: CertificateState = CertificateState.GOOD,
    since: int | None = None,
    reason: int | None = None,
) -> Standing:
    return Standing(place + 1, 7, 1, SERIALS[place], 2_000 * SECOND + 999_999, state, since, reason)


def card(*standings: Standing, revision: int = 3) -> CardStanding:
    return CardStanding(7, revision, list(standings))


def an_answer(revision: int = 3, serials: tuple[int, ...] = (0, 1)) -> bytes:
    check = serials_check([SERIALS[place] for place in serials])
    return pack_answer(AnswerHead(revision, check, 1, 3, 3, 10, 10, 20, 0), b"signature")


@SETTINGS
@given(st.data())
def test_what_is_packed_is_read_back(data: st.DataObject) -> None:
    certificates = data.draw(cards(most=MOST_CERTIFICATES))
    head = data.draw(heads(certificates))
    signature = data.draw(st.binary(min_size=1, max_size=512))
    answer = data.draw(st.sampled_from([b"", pack_answer(head, signature)]))
    revision = data.draw(st.integers(0, (1 << 32) - 1))
    issuer = data.draw(st.integers(0, 255))
    record = CardRecord(revision, issuer, certificates, answer)
    octets = pack(record)
    assert unpack(octets) == record
    values, plain_head, plain_signature = unpack_plainly(octets)
    assert values[:3] == (revision, issuer, len(certificates))
    assert values[3:] == tuple(value for certificate in certificates for value in certificate)
    if answer:
        assert answer_head(record.answer) == head == plain_head
        assert plain_signature == signature
    else:
        assert (plain_head, plain_signature) == (None, b"")


def test_records_that_were_written_once_stay_readable() -> None:
    """The form is on disk, in the record as well; whoever changes it must migrate."""
    standing = CertificateStanding(SERIALS[1], 2, 0x01020304, 4, 0x0A0B0C0D)
    answer = pack_answer(AnswerHead(1, 2, 3, 4, 5, 6, 7, 8, 9), b"\xff")
    assert pack(CardRecord(0x11121314, 0x15, (standing,), answer)).hex() == (
        "11121314 15 01 4001" + "00" * 14 + "02 01020304 04 0a0b0c0d"
        "00000001 00000002 0003 04 0005 00000006 00000007 00000008 00000009 ff"
    ).replace(" ", "")


def test_a_record_says_what_the_store_says() -> None:
    held = standing(0, CertificateState.HELD, 1_000 * SECOND + 1, 6)
    unspecified = standing(1, CertificateState.REVOKED, 1_001 * SECOND, 0)
    record = record_of(card(held, unspecified, standing(2)), 4)
    assert record == CardRecord(
        3,
        4,
        (
            CertificateStanding(SERIALS[0], 1, 1_000, 6, 2_000),
            CertificateStanding(SERIALS[1], 2, 1_001, NO_REASON, 2_000),  # RFC 5280 5.3.1: left out
            CertificateStanding(SERIALS[2], 0, 0, NO_REASON, 2_000),
        ),
        b"",
    )


def test_an_answer_of_this_revision_and_these_certificates_is_kept() -> None:
    answer = an_answer()
    assert record_of(card(standing(0), standing(1)), 0, answer).answer == answer


@pytest.mark.parametrize(
    "answer",
    [
        an_answer(revision=2),
        an_answer(revision=4),
        an_answer(serials=(0,)),
        an_answer(serials=(0, 1, 2)),
        an_answer(serials=(1, 0)),
        an_answer(serials=(0, 2)),
    ],
    ids=["older", "newer", "one certificate less", "one more", "in another order", "another one"],
)
def test_an_answer_of_another_revision_or_of_other_certificates_is_dropped(answer: bytes) -> None:
    assert record_of(card(standing(0), standing(1)), 0, answer).answer == b""


def test_a_card_takes_as_many_certificates_as_the_mask_has_bits() -> None:
    most = [standing(place) for place in range(MOST_CERTIFICATES)]
    assert len(unpack(pack(record_of(card(*most), 0))).certificates) == MOST_CERTIFICATES
    with pytest.raises(StoreError, match=r"card 7.*too many certificates.*found 17"):
        record_of(card(*most, standing(MOST_CERTIFICATES)), 0)
