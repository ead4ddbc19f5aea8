"""The arithmetic of `sealmint capacity`: cases counted by hand, and what must hold for any numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.capacity.arithmetic import Question, answer_question, issuance_rate
from engine.capacity.rate_curve import RateCurve
from engine.capacity.working_time import DailyWindow
from engine.errors import InputRejected

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
TEN_MS = RateCurve({1: 100, 2: 200, 4: 400, 8: 800, 12: 1_200, 16: 1_200, 32: 1_200})

# 1,000 cards, two certificates each: 2,000 certificates and 1,000 answers. No margin, no renewal worth the name.
PLAIN = Question(
    now=NOW,
    deadline=NOW + timedelta(seconds=100),
    cards=1_000,
    certificates_per_card=2,
    nonce_answers=0,
    answers_kept=0,
    answer_validity=timedelta(days=10**6),
    margin=0.0,
)


def test_three_signatures_a_card_by_hand() -> None:
    # 3,000 signatures in 100 s are 30 a second: one session of 100 a second
    found = answer_question(PLAIN, TEN_MS)
    assert found.possible
    assert found.sessions == 1
    assert found.certificates_per_second_needed == 20
    assert found.token_per_second_needed == pytest.approx(30)
    assert found.ends_at is not None
    assert (found.ends_at - NOW).total_seconds() == pytest.approx(3_000 / 1_200)
    assert found.binding == "token"


def test_live_answers_and_the_margin_take_their_part_by_hand() -> None:
    # of 1,200 a tenth stays free: 1,080; 480 live: 600 for three signatures a card, 400 of them certificates
    found = answer_question(replace(PLAIN, nonce_answers=480, margin=0.1), TEN_MS)
    assert found.certificates_per_second == pytest.approx(400)
    assert found.shares.pre_signing == pytest.approx(200)
    assert found.shares.live == 480
    assert found.shares.spare == pytest.approx(0, abs=1e-6)
    # needed: (30 + 480) / 0.9 = 566.7 a second: six sessions
    assert found.token_per_second_needed == pytest.approx(510 / 0.9)
    assert found.sessions == 6


def test_renewal_by_hand() -> None:
    # 107,000 old and 1,000 new cards, each renewed in 0.6 of 5 hours: 108,000 / 10,800 s = 10 a second
    found = answer_question(replace(PLAIN, answers_kept=107_000, answer_validity=timedelta(hours=5)), TEN_MS)
    assert found.shares.renewal == pytest.approx(10)
    assert found.token_per_second_needed == pytest.approx(40)


def test_the_host_binds_where_it_is_slower_than_the_token_by_hand() -> None:
    # 253 certificates a second, and half an answer with each: 253 / (1 + 0.53 / 2) = 200
    found = answer_question(replace(PLAIN, host_certificates=253.0), TEN_MS)
    assert found.binding == "host"
    assert found.certificates_per_second == pytest.approx(200)


def test_a_rate_cap_binds_and_may_make_it_impossible() -> None:
    found = answer_question(replace(PLAIN, rate_cap=10), TEN_MS)
    assert (found.possible, found.binding, found.sessions) == (False, "rate cap", None)
    assert found.ends_at == NOW + timedelta(seconds=200)


def test_windows_bind_where_the_whole_day_were_enough() -> None:
    # 10:00 UTC is 18:00 in Taipei; the window opens at 18:00:40 and leaves 60 of the 100 s
    windows = (DailyWindow(time(18, 0, 40), time(19, 0)),)
    needs_80_seconds = replace(PLAIN, cards=32_000, windows=windows)
    found = answer_question(needs_80_seconds, TEN_MS)
    assert found.working_seconds == 60
    assert (found.possible, found.binding) == (False, "run windows")
    assert found.ends_at == NOW + timedelta(seconds=120)
    assert answer_question(replace(needs_80_seconds, windows=()), TEN_MS).possible


def test_live_answers_beyond_the_token_leave_nothing() -> None:
    found = answer_question(replace(PLAIN, nonce_answers=1_300), TEN_MS)
    assert (found.possible, found.ends_at, found.binding) == (False, None, "token")
    assert found.certificates_per_second == 0


def test_nothing_to_issue_is_refused() -> None:
    with pytest.raises(InputRejected):
        replace(PLAIN, cards=0)


NIGHT = DailyWindow(time(22), time(4))
QUESTIONS = st.builds(
    Question,
    now=st.just(NOW),
    deadline=st.integers(1, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    cards=st.integers(1, 10**6),
    certificates_per_card=st.integers(1, 3),
    nonce_answers=st.floats(0, 1_500),
    answers_kept=st.integers(0, 10**6),
    answer_validity=st.integers(2, 240).map(lambda hours: timedelta(hours=hours)),
    windows=st.sampled_from(
        [
            (),
            (DailyWindow(time(22), time(4)),),
            (DailyWindow(time(1), time(2)), DailyWindow(time(9), time(17))),
        ]
    ),
    rate_cap=st.none() | st.integers(1, 5_000),
    host_certificates=st.none() | st.floats(1, 5_000),
    margin=st.floats(0, 0.5),
)


@given(QUESTIONS)
@settings(max_examples=200, deadline=None)
def test_the_sessions_named_are_enough_and_one_fewer_is_not(question: Question) -> None:
    found = answer_question(question, TEN_MS)
    if found.sessions is None:
        assert not found.possible
        return
    assert found.possible
    assert found.ends_at_with_sessions is not None
    assert found.ends_at_with_sessions <= question.deadline + timedelta(milliseconds=1)
    certificates = question.cards * question.certificates_per_card
    fewer = issuance_rate(question, TEN_MS.per_second(found.sessions - 1))
    assert fewer * found.working_seconds < certificates * (1 + 1e-9)


@given(QUESTIONS, st.integers(1, 10**5), st.floats(0, 500))
@settings(max_examples=100, deadline=None)
def test_more_work_never_ends_sooner(question: Question, more_cards: int, more_answers: float) -> None:
    harder = replace(
        question, cards=question.cards + more_cards, nonce_answers=question.nonce_answers + more_answers
    )
    before, after = answer_question(question, TEN_MS), answer_question(harder, TEN_MS)
    assert before.possible or not after.possible
    if before.ends_at is None:
        assert after.ends_at is None
    elif after.ends_at is not None:
        assert after.ends_at >= before.ends_at


@given(QUESTIONS)
@settings(max_examples=100, deadline=None)
def test_the_lanes_share_no_more_than_the_token_does(question: Question) -> None:
    found = answer_question(question, TEN_MS)
    shares = found.shares
    used = shares.live + shares.renewal + shares.pre_signing + shares.issuance + shares.spare
    always = shares.live + shares.renewal
    assert used <= max(TEN_MS.plateau * (1 - question.margin), always) * (1 + 1e-9)
