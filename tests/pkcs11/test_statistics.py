from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.durations import Durations, WindowedDurations
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
DEVICE_ERROR, DEVICE_MEMORY = 0x30, 0x31


async def test_the_numbers_add_up(open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim) -> None:
    before = len(hsm.signatures())
    messages = [b"message %d" % number for number in range(200)]
    async with open_pool(size=2, chunk=16) as pool:
        hsm.fail_next("C_Sign", DEVICE_ERROR)
        await pool.sign_many(messages, key=rsa_key, algorithm=PKCS1)
        hsm.fail_next("C_SignInit", DEVICE_MEMORY, 2)
        await pool.sign_many(messages[:20], key=rsa_key, algorithm=PKCS1, lane=Lane.URGENT)
        while pool.missing:
            await pool.changed.park()
        numbers = pool.statistics()
    logged = [line for line in hsm.signatures()[before:] if not line.discarded]
    assert numbers.signing.count == len(logged) == 220
    assert numbers.signing.total_ns >= numbers.signing.longest_ns >= numbers.signing.percentile_99_ns
    assert numbers.signing.percentile_99_ns >= numbers.signing.median_ns > 0
    assert numbers.errors == {"CKR_DEVICE_ERROR": 1, "CKR_DEVICE_MEMORY": 2}
    assert (numbers.replacements, numbers.stuck, numbers.stuck_ever) == (1, 0, 0)
    assert {lane: there.waiting_peak for lane, there in numbers.lanes.items() if there.done} == {
        Lane.URGENT: 20,
        Lane.ISSUANCE: 200,
    }
    assert {there.waiting + there.in_flight for there in numbers.lanes.values()} == {0}
    urgent, issuance = numbers.lanes[Lane.URGENT], numbers.lanes[Lane.ISSUANCE]
    assert [urgent.signed.count, issuance.signed.count, urgent.done, issuance.done] == [20, 200, 20, 200]
    assert (issuance.recent.waited, issuance.recent.signed) == (issuance.waited, issuance.signed)
    # 13 chunks and 2 chunks, and the one whose session was replaced waited twice
    assert (issuance.waited.count, urgent.waited.count) == (14, 2)
    assert [session.state for session in numbers.sessions] == ["idle", "idle"]
    assert sum(session.signing.count for session in numbers.sessions) <= 220


async def test_latency_shows_in_the_signing_time(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    hsm.latency("C_Sign", 20_000)
    async with open_pool(size=1) as pool:
        await pool.sign_many([b"a", b"b"], key=rsa_key, algorithm=PKCS1)
        numbers = pool.statistics()
    assert numbers.signing.total_ns >= 2 * 20_000_000


@given(st.lists(st.integers(0, 2**45), min_size=1), st.integers(1, 100))
def test_a_percentile_is_right_to_a_fifth(durations: list[int], percent: int) -> None:
    counted = Durations()
    counted.add(durations)
    rank = -(-len(durations) * percent // 100)  # rounded up
    true = sorted(durations)[rank - 1]
    assert true <= counted.percentile_ns(percent) <= true * 1.25


@given(st.lists(st.integers(0, 2**45)), st.lists(st.integers(0, 2**45)))
def test_merging_is_counting_together(some: list[int], others: list[int]) -> None:
    merged, together = Durations(), Durations()
    merged.add(some)
    more = Durations()
    more.add(others)
    merged.merge(more)
    together.add(some + others)
    assert merged.summary() == together.summary()


def test_what_is_recent_leaves_the_window_and_stays_in_the_whole() -> None:
    counted = WindowedDurations(100.0, window=10.0)
    counted.add([1], 101.0)
    assert (counted.recent(105.0)[0], counted.recent(105.0)[1].count) == (5.0, 1)
    counted.add([2, 2], 111.0)
    assert (counted.recent(115.0)[0], counted.recent(115.0)[1].count) == (15.0, 3)
    seconds, recent = counted.recent(122.0)
    assert (seconds, recent.count, recent.longest_ns) == (11.0, 2, 2)
    assert counted.recent(150.0)[1].count == 0
    assert counted.summary().count == 3
