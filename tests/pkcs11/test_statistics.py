from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.statistics import Durations
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
    assert numbers.waiting == {Lane.URGENT: 0, Lane.BULK: 0}
    assert numbers.waiting_peak == {Lane.URGENT: 20, Lane.BULK: 200}
    # 13 chunks and 2 chunks, and the one whose session was replaced waited twice
    assert (numbers.waited[Lane.BULK].count, numbers.waited[Lane.URGENT].count) == (14, 2)
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
