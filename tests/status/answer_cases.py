"""Cards and answers of every kind, for hypothesis to draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from engine.status.card_record import NO_REASON, AnswerHead, CertificateStanding, serials_check
from engine.store.schema import CertificateState

LATEST = 4_291_747_199
"""The end of 2105 in seconds since the epoch: what 32 bits hold, less a month."""

MOMENTS = st.integers(0, LATEST)
SERIALS = st.binary(min_size=15, max_size=15).map(lambda rest: b"\x40" + rest)
REASONS = st.sampled_from([NO_REASON, 1, 2, 3, 4, 5, 6, 9, 10])
RESPONDER = 1

_GOOD = st.builds(CertificateStanding, SERIALS, st.just(0), st.just(0), st.just(NO_REASON), MOMENTS)
_NOT_GOOD = st.builds(
    CertificateStanding,
    SERIALS,
    st.sampled_from([int(CertificateState.HELD), int(CertificateState.REVOKED)]),
    MOMENTS,
    REASONS,
    MOMENTS,
)


@st.composite
def cards(draw: st.DrawFn, most: int = 4) -> tuple[CertificateStanding, ...]:
    """The certificates of a card; on two cards in three all are good."""
    one = draw(st.sampled_from([_GOOD, _GOOD, st.one_of(_GOOD, _NOT_GOOD)]))
    return tuple(
        draw(st.lists(one, min_size=1, max_size=most, unique_by=lambda certificate: certificate.serial))
    )


@st.composite
def heads(draw: st.DrawFn, certificates: tuple[CertificateStanding, ...]) -> AnswerHead:
    """The head of an answer to a card, which covers some or all of its certificates."""
    everything = (1 << len(certificates)) - 1
    covered = draw(st.one_of(st.just(everything), st.integers(1, everything)))
    return AnswerHead(
        revision=draw(st.integers(0, (1 << 32) - 1)),
        serials_check=serials_check([certificate.serial for certificate in certificates]),
        responder=RESPONDER,
        hashes=draw(st.integers(1, 15)),
        covered=covered,
        produced_at=draw(MOMENTS),
        this_update=draw(MOMENTS),
        next_update=draw(MOMENTS),
        archive_cutoff=draw(st.one_of(st.just(0), st.integers(1, LATEST))),
    )
