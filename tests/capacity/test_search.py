"""The search finds the knee of curves that are known, exactly or within what noise allows."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.capacity.points import Shape, relative_to
from engine.capacity.rounds import Rounds
from engine.capacity.search import Found, Space, search
from tests.capacity.simulated_token import capped, simulated


def space(workers: tuple[int, ...] = (1,), most: int = 64, batches: tuple[int, ...] = (1, 4)) -> Space:
    return Space(workers=workers, max_sessions=most, batches=batches, rounds=3)


def found_on(rounds: Rounds, asked: Space) -> Found:
    return trio.run(search, asked, rounds)


@given(places=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_the_knee_of_a_token_with_so_many_places_is_exact(places: int) -> None:
    found = found_on(simulated(capped(places)), space())
    # 95 % of 20 places are 19: by definition the knee is the fewest sessions with that much
    assert found.knee_sessions == -(-places * 19 // 20)
    assert 0.95 * places * 100 <= found.plateau <= places * 100
    assert not found.still_growing or places > 32


@pytest.mark.parametrize("places", [4, 12])
@pytest.mark.parametrize("seed", range(6))
def test_noise_and_a_host_that_slows_down_move_the_knee_by_one_session_at_most(
    places: int, seed: int
) -> None:
    found = found_on(simulated(capped(places), noise=0.04, drift=0.15, seed=seed), space())
    assert abs(found.knee_sessions - places) <= 1


def test_a_token_that_grows_to_the_end_is_said_to() -> None:
    found = found_on(simulated(capped(1_000)), space(most=16))
    assert found.still_growing
    assert found.knee_sessions == 16


def test_more_processes_are_used_only_where_they_bring_something() -> None:
    def a_process_has_a_limit(shape: Shape) -> float:
        return min(shape.sessions * 100, shape.workers * 900, 1_600)

    assert found_on(simulated(a_process_has_a_limit), space((1, 2, 4, 8))).workers == 2
    assert found_on(simulated(capped(4)), space((1, 2, 4, 8))).workers == 1


def test_processes_that_are_never_enough_are_tried_up_to_the_last() -> None:
    found = found_on(simulated(lambda shape: min(shape.sessions, shape.workers) * 100.0), space((1, 2, 4)))
    assert (found.workers, found.knee_sessions) == (4, 4)


def test_the_smallest_batch_that_is_nearly_the_best_is_taken() -> None:
    def a_chunk_costs_something(shape: Shape) -> float:
        return min(shape.sessions, 4) * 100 / (1 + 0.2 / shape.batch)

    found = found_on(simulated(a_chunk_costs_something), space(batches=(1, 2, 8, 16, 64)))
    assert found.batch == 16  # 1 / 1.0125 is 0.991 of the best, 1 / 1.003; 8 would be 0.979
    assert found.batches_not_measured == ()


def test_batches_that_hold_a_session_too_long_are_left_out() -> None:
    found = found_on(simulated(capped(4), call_ms=10), space(batches=(1, 2, 4, 16, 64)))
    assert found.curve_batch == 2  # 20 ms; 4 would be 40
    assert found.batches_not_measured == (64,)


def test_a_rate_that_falls_again_has_its_knee_where_it_is_highest() -> None:
    def falling(shape: Shape) -> float:
        return (
            1000
            * shape.sessions
            / (1 + 0.05 * (shape.sessions - 1) + 0.02 * shape.sessions * (shape.sessions - 1))
        )

    found = found_on(simulated(falling), space())
    exact = {sessions: falling(Shape(1, sessions, 1)) for sessions in range(1, 65)}
    best = max(exact.values())
    assert exact[found.knee_sessions] >= 0.94 * best
    assert exact[found.knee_sessions - 1] < 0.97 * best


def test_points_are_compared_within_their_rounds() -> None:
    rounds = simulated(capped(4), drift=0.5)
    one, four = Shape(1, 1, 1), Shape(1, 4, 1)

    async def measure() -> None:
        await rounds.measure([one, four], 5)
        await rounds.measure([four], 4)

    trio.run(measure)
    assert relative_to(rounds.points[one], rounds.points[four]) == pytest.approx(0.25)
    assert len(rounds.points[four].slices) == 9
