"""Whether so many cards are done by a deadline: pure arithmetic over a sweep's curve.

What the token signs for a new card: its certificates, and one OCSP answer (one signature for both CertID hashes). What
it signs anyway: live answers, each second so many, and the renewal of answers, each card once in 0.6 of their validity.
Live answers go first, so what is left is the bulk's; certificates and the answers ahead share it so that the answers
keep up with the cards. Besides the token three things may bind: the CPUs of this host, the run windows of a policy, and
its rate cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from engine.capacity.rate_curve import RateCurve
from engine.capacity.working_time import DailyWindow, end_of_work, working_seconds
from engine.errors import InputRejected

MARGIN = 0.1
"""Of what was measured, not planned with: a sweep is two minutes, a run is hours. A guess."""

HOST_WORK_OF_AN_ANSWER = 0.53
"""What an OCSP answer costs this host's CPUs besides its signature, over what a certificate does (bench.presign: 95 µs,
bench.issuance: 180 µs)."""

RENEWAL_SHARE = 0.6
"""Of its validity, after which an answer is renewed on the average (docs/pool-sizing.md, "The processes of serve")."""

WINDOWS = "run windows"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        now: from when on.
        deadline: until when.
        cards: new ones.
        certificates_per_card: of each.
        nonce_answers: live answers a second, all the time.
        answers_kept: cards that have an answer already, which is renewed meanwhile.
        answer_validity: of an answer signed ahead.
        windows: when the run may sign; none: always.
        rate_cap: certificates a second that the policy allows.
        host_certificates: certificates a second that this host makes at most; None where that was never seen.
        margin: the share of token and host that is not planned with.
    """

    now: datetime
    deadline: datetime
    cards: int
    certificates_per_card: int
    nonce_answers: float
    answers_kept: int
    answer_validity: timedelta
    windows: Sequence[DailyWindow] = ()
    rate_cap: float | None = None
    host_certificates: float | None = None
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if self.cards < 1 or self.certificates_per_card < 1:
            raise InputRejected("there is nothing to issue", rule="at least one card with one certificate")
        if not 0 <= self.margin < 1 or self.nonce_answers < 0 or self.answers_kept < 0:
            raise InputRejected("a number is out of range", rule="0 <= margin < 1, rates not negative")


@dataclass(frozen=True, slots=True)
class Shares:
    """Signatures a second by lane while the run works, and what the token could do besides, margin taken off."""

    live: float
    renewal: float
    pre_signing: float
    issuance: float
    spare: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of it.

    Attributes:
        possible: whether it ends by the deadline, with the most that the token does.
        ends_at: when it would end then; None where it never would.
        binding: which limit decides: `token`, `host` or `rate cap`, whichever allows the fewest certificates a second;
            `run windows` where it were possible at any time of day.
        certificates: in all.
        working_seconds: in which the run may sign until the deadline.
        certificates_per_second: that it can make.
        certificates_per_second_needed: to be done by the deadline; None where no time is left.
        token_per_second_needed: signatures of all lanes for that, margin on top; None likewise.
        sessions: the fewest that make them; None where the token or another limit does not allow it.
        ends_at_with_sessions: when it ends with those.
        shares: by lane, with the most that the token does.
    """

    possible: bool
    ends_at: datetime | None
    binding: str
    certificates: int
    working_seconds: float
    certificates_per_second: float
    certificates_per_second_needed: float | None
    token_per_second_needed: float | None
    sessions: int | None
    ends_at_with_sessions: datetime | None
    shares: Shares


def answer_question(question: Question, curve: RateCurve) -> Answer:
    """Return whether it is possible, with how many sessions, when it ends and what binds."""
    certificates = question.cards * question.certificates_per_card
    seconds = working_seconds(question.now, question.deadline, question.windows)
    rate = issuance_rate(question, curve.plateau)
    ends = _ends(question, rate)
    possible = ends is not None and ends <= question.deadline
    needed = certificates / seconds if seconds > 0 else None
    of_token = None if needed is None else _token_rate(question, needed)
    sessions = curve.sessions_for(of_token) if possible and of_token is not None else None
    return Answer(
        possible=possible,
        ends_at=ends,
        binding=_binding(question, curve.plateau, ends),
        certificates=certificates,
        working_seconds=seconds,
        certificates_per_second=rate,
        certificates_per_second_needed=needed,
        token_per_second_needed=of_token,
        sessions=sessions,
        ends_at_with_sessions=None
        if sessions is None
        else _ends(question, issuance_rate(question, curve.per_second(sessions))),
        shares=_shares(question, curve.plateau, rate),
    )


def issuance_rate(question: Question, token_per_second: float) -> float:
    """Return the certificates a second that can be made beside everything else, with so many signatures a second."""
    return max(0.0, min(_limits(question, token_per_second).values()))


def _limits(question: Question, token_per_second: float) -> dict[str, float]:
    """Certificates a second by what limits them; windows limit the time, not the rate."""
    usable, always = 1 - question.margin, question.nonce_answers + _renewal(question)
    with_answer = 1 / question.certificates_per_card  # answers ahead for each certificate
    limits = {"token": (token_per_second * usable - always) / (1 + with_answer)}
    if question.host_certificates is not None:
        left = question.host_certificates * usable - HOST_WORK_OF_AN_ANSWER * always
        limits["host"] = left / (1 + HOST_WORK_OF_AN_ANSWER * with_answer)
    if question.rate_cap is not None:
        limits["rate cap"] = question.rate_cap
    return limits


def _renewal(question: Question) -> float:
    """Answers a second renewed for every card there is in the end: what it comes to at last, so never too few."""
    cards = question.answers_kept + question.cards
    return cards / (RENEWAL_SHARE * question.answer_validity.total_seconds())


def _token_rate(question: Question, certificates_per_second: float) -> float:
    """Signatures a second of the token, for so many certificates a second and all that comes with them."""
    always = question.nonce_answers + _renewal(question)
    return (certificates_per_second * (1 + 1 / question.certificates_per_card) + always) / (
        1 - question.margin
    )


def _ends(question: Question, rate: float) -> datetime | None:
    if rate <= 0:
        return None
    certificates = question.cards * question.certificates_per_card
    return end_of_work(question.now, certificates / rate, question.windows)


def _binding(question: Question, token_per_second: float, ends: datetime | None) -> str:
    limits = _limits(question, token_per_second)
    if question.windows and (ends is None or ends > question.deadline):
        always_open = _ends(replace(question, windows=()), issuance_rate(question, token_per_second))
        if always_open is not None and always_open <= question.deadline:
            return WINDOWS
    return min(limits, key=lambda name: limits[name])


def _shares(question: Question, token_per_second: float, rate: float) -> Shares:
    pre_signing, renewal = rate / question.certificates_per_card, _renewal(question)
    used = question.nonce_answers + renewal + pre_signing + rate
    spare = max(0.0, token_per_second * (1 - question.margin) - used)
    return Shares(question.nonce_answers, renewal, pre_signing, rate, spare)
