"""The rule by which processes share a token, on tables made by hand and in a simulated token."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.pkcs11.arbitration import (
    BEGUN,
    HALF_LIFE,
    IN_FLIGHT,
    SERVICE,
    SERVICE_AT,
    SINCE,
    WANTS,
    at,
    in_flight,
    next_ceiling,
    turns,
    used,
)
from engine.pkcs11.lanes import BULK, DEADLINES, SHARED_HOLD, WEIGHTS, Lane, LaneRules
from tests.pkcs11.lane_rows import NOW, Row

RULES = LaneRules()
URGENT, LIVE, CRL, PRE_SIGNING, ISSUANCE = Lane


def decided(
    rows: Mapping[int, Row], parallel: float = math.inf, ceiling: float = math.inf
) -> list[tuple[int, Lane]]:
    return list(turns(rows, parallel, ceiling, RULES, NOW))


def test_without_limits_everybody_may_begin() -> None:
    rows = {3: Row().lane(ISSUANCE, wants=2, in_flight=5), 7: Row().lane(LIVE, wants=1)}
    assert Counter(decided(rows)) == {(3, ISSUANCE): 2, (7, LIVE): 1}


@pytest.mark.parametrize(("parallel", "expected"), [(8, []), (9, [(7, LIVE)]), (7, [])])
def test_no_more_begin_than_there_are_free_places(parallel: int, expected: list[tuple[int, Lane]]) -> None:
    rows = {3: Row().lane(ISSUANCE, wants=2, in_flight=5), 7: Row().lane(LIVE, wants=2, in_flight=3)}
    assert decided(rows, parallel) == expected


def test_the_lane_that_used_least_for_its_weight_goes_first() -> None:
    rows = {0: Row().lane(LIVE, wants=1, used=4.0), 1: Row().lane(ISSUANCE, wants=1, used=0.4)}
    assert decided(rows, 1) == [(1, ISSUANCE)]
    rows[0].lane(LIVE, wants=1, used=3.1)
    assert decided(rows, 1) == [(0, LIVE)]


def test_the_foremost_goes_first_where_all_used_the_same() -> None:
    rows = {0: Row().lane(ISSUANCE, wants=1), 1: Row().lane(PRE_SIGNING, wants=1).lane(URGENT, wants=1)}
    assert decided(rows, 2) == [(1, URGENT), (1, PRE_SIGNING)]


def test_within_a_lane_the_process_that_used_least_goes_first() -> None:
    rows = {
        slot: Row().lane(ISSUANCE, wants=2, used=seconds) for slot, seconds in ((1, 0.5), (2, 0.48), (3, 0.9))
    }
    assert [slot for slot, _ in decided(rows, 3)] == [2, 1, 2]


def test_who_waited_beyond_the_deadline_goes_before_the_weights() -> None:
    rows = {
        0: Row().lane(LIVE, wants=1),
        1: Row().lane(
            ISSUANCE, wants=2, used=9.0, waited=DEADLINES[ISSUANCE] + 1, served=DEADLINES[ISSUANCE]
        ),
    }
    assert decided(rows, 2) == [(1, ISSUANCE), (0, LIVE)]


def test_a_lane_that_was_served_meanwhile_has_a_new_deadline() -> None:
    rows = {
        0: Row().lane(LIVE, wants=1),
        1: Row().lane(ISSUANCE, wants=2, used=9.0, waited=60, served=1.0),
        2: Row().lane(ISSUANCE, wants=2, used=9.0, waited=60),
    }
    assert decided(rows, 1) == [(0, LIVE)]


def test_of_several_beyond_their_deadlines_the_one_first_due_goes_first() -> None:
    rows = {
        0: Row().lane(LIVE, wants=1, waited=DEADLINES[LIVE] + 1),
        1: Row().lane(CRL, wants=1, waited=DEADLINES[CRL] + 2),
        2: Row().lane(ISSUANCE, wants=1, waited=DEADLINES[ISSUANCE] + 1.5),
    }
    assert [lane for _, lane in decided(rows, 3)] == [CRL, ISSUANCE, LIVE]


@pytest.mark.parametrize(("ceiling", "bulk"), [(1, 0), (2, 0), (3, 1), (4, 2), (9, 3)])
def test_bulk_lanes_together_stay_below_their_ceiling(ceiling: int, bulk: int) -> None:
    rows = {
        0: Row().lane(PRE_SIGNING, wants=2, in_flight=1),
        1: Row().lane(ISSUANCE, wants=1, in_flight=1).lane(LIVE, wants=2),
    }
    begun = [lane for _, lane in decided(rows, 20, ceiling)]
    assert sum(lane in BULK for lane in begun) == bulk
    assert begun.count(LIVE) == 2


@pytest.mark.parametrize(
    ("ceiling", "in_flight", "p99", "expected"),
    [
        (math.inf, 16, 0.06, 8),
        (8, 8, 0.06, 4),
        (8, 3, 0.06, 1),  # half of what is in flight, not of what might be
        (1, 1, 0.06, 1),
        (1, 0, 0.06, 1),
        (math.inf, 0, 0.06, math.inf),  # nobody could give way
        (4, 4, 0.045, 4),
        (4, 4, 0.03, 5),
        (4, 0, 0.0, 5),
        (15, 15, 0.03, math.inf),
        (math.inf, 16, 0.03, math.inf),
    ],
)
def test_the_ceiling_follows_the_live_lane(
    ceiling: float, in_flight: int, p99: float, expected: float
) -> None:
    assert next_ceiling(ceiling, 16, in_flight, p99, 0.05) == expected


def test_what_was_used_is_forgotten_by_halves() -> None:
    row = Row().lane(CRL, used=3.0)
    assert [used(row, CRL, NOW + after * HALF_LIFE) for after in (0, 1, 2)] == [3.0, 1.5, 0.75]


@st.composite
def tables(draw: st.DrawFn) -> dict[int, Row]:
    rows = {}
    for slot in draw(st.sets(st.integers(0, 9), min_size=1, max_size=5)):
        row = rows[slot] = Row()
        for lane in draw(st.sets(st.sampled_from(Lane))):
            row.lane(
                lane,
                wants=draw(st.integers(0, 5)),
                waited=draw(st.floats(0, 10)),
                in_flight=draw(st.integers(0, 5)),
                used=draw(st.floats(0, 20)),
                served=draw(st.none() | st.floats(0, 10)),
            )
    return rows


@given(tables(), st.integers(1, 40))
def test_no_place_stays_free_while_somebody_wants_it(rows: dict[int, Row], parallel: int) -> None:
    begun = decided(rows, parallel)
    wanted = Counter({(slot, lane): int(row[at(lane, WANTS)]) for slot, row in rows.items() for lane in Lane})
    free = max(0, parallel - in_flight(rows))
    assert len(begun) == min(free, wanted.total())
    assert Counter(begun) <= wanted


@given(tables(), st.integers(1, 40), st.integers(1, 20))
def test_a_ceiling_holds_back_bulk_lanes_only(rows: dict[int, Row], parallel: int, ceiling: int) -> None:
    begun = decided(rows, parallel, ceiling)
    bulk = sum(lane in BULK for _, lane in begun)
    assert bulk == 0 or in_flight(rows, BULK) + bulk <= ceiling
    foremost = sum(row[at(lane, WANTS)] for row in rows.values() for lane in set(Lane) - BULK)
    if in_flight(rows) + len(begun) < parallel:
        assert len(begun) - bulk == foremost


class SimulatedToken:
    """Processes that always want more in their lanes, on a token with so many places; each call holds one place."""

    def __init__(self, lanes: Mapping[int, set[Lane]], places: int, hold: float) -> None:
        self.rows = {slot: Row() for slot in lanes}
        self._lanes, self._places, self._hold = lanes, places, hold
        self._ends: list[tuple[float, int, Lane]] = []
        self.now = NOW
        self.seconds: defaultdict[tuple[int, Lane], float] = defaultdict(float)
        self.begun_at: dict[Lane, list[float]] = {lane: [NOW] for lane in set().union(*lanes.values())}
        for slot, there in lanes.items():
            for lane in there:
                self.rows[slot].lane(lane, wants=places)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for slot, lane in list(turns(self.rows, self._places, math.inf, RULES, self.now)):
                self._begin(slot, lane)
            self._ends.sort()
            self.now, slot, lane = self._ends.pop(0)
            self.rows[slot][at(lane, IN_FLIGHT)] -= 1

    def _begin(self, slot: int, lane: Lane) -> None:
        row = self.rows[slot]
        row[at(lane, SERVICE)] = used(row, lane, self.now) + self._hold
        row[at(lane, SERVICE_AT)] = row[at(lane, BEGUN)] = row[at(lane, SINCE)] = self.now
        row[at(lane, IN_FLIGHT)] += 1
        self.seconds[slot, lane] += self._hold
        self.begun_at[lane].append(self.now)
        self._ends.append((self.now + self._hold * (1 + slot / 100), slot, lane))


@given(
    st.dictionaries(st.integers(0, 5), st.sets(st.sampled_from(Lane), min_size=1), min_size=1, max_size=4),
    st.integers(1, 8),
    st.floats(0.001, SHARED_HOLD),
)
@settings(max_examples=15, deadline=None)
def test_every_lane_that_waits_is_served_in_time(
    lanes: dict[int, set[Lane]], places: int, hold: float
) -> None:
    token = SimulatedToken(lanes, places, hold)
    token.run(100 * hold)
    for lane, times in token.begun_at.items():
        longest = max(later - earlier for earlier, later in zip(times, [*times[1:], token.now], strict=True))
        # when its deadline comes a place may be taken for a chunk, and the other lanes may be due before it
        assert longest <= DEADLINES[lane] + len(Lane) * 1.05 * hold + 1e-9


def test_lanes_that_always_want_more_share_by_weight() -> None:
    token = SimulatedToken({0: {LIVE}, 1: {PRE_SIGNING}, 2: {ISSUANCE}, 3: {ISSUANCE}}, 4, 0.01)
    token.run(40)
    by_lane = {lane: sum(s for (_, its), s in token.seconds.items() if its == lane) for lane in Lane}
    used_of = {lane: by_lane[lane] / sum(by_lane.values()) for lane in (LIVE, PRE_SIGNING, ISSUANCE)}
    weights = WEIGHTS[LIVE] + WEIGHTS[PRE_SIGNING] + WEIGHTS[ISSUANCE]
    assert used_of == {lane: pytest.approx(WEIGHTS[lane] / weights, rel=0.1) for lane in used_of}
    assert token.seconds[2, ISSUANCE] == pytest.approx(token.seconds[3, ISSUANCE], rel=0.05)
