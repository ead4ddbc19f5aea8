"""Cancellation on a real token: the session finishes its chunk and serves the next caller."""

from __future__ import annotations

import trio
import trio.testing

from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.keys import KeyReference
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256


async def test_a_cancelled_call_ends_its_waiting_only(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    before = len(hsm.signatures())
    async with open_pool(size=1, chunk=4) as pool:
        arm = hsm.hang_next("C_Sign")
        async with trio.open_nursery() as nursery:

            async def sign() -> None:
                await pool.sign_many([b"%d" % n for n in range(12)], key=rsa_key, algorithm=PKCS1)

            nursery.start_soon(sign)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        hsm.disarm(arm)
        (outcome,) = await pool.sign_many([b"next"], key=rsa_key, algorithm=PKCS1)
        assert isinstance(outcome, bytes)
        assert [session.state for session in pool.statistics().sessions] == ["idle"]
    assert len(hsm.signatures()) - before == 4 + 1


async def test_cancelling_around_the_pool_closes_it(
    open_pool: OpenPool, rsa_key: KeyReference, hsm: HsmShim
) -> None:
    opened, closed = len(hsm.calls("C_OpenSession")), len(hsm.calls("C_CloseSession"))
    with trio.CancelScope() as scope:
        async with open_pool(size=2):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert len(hsm.calls("C_OpenSession")) - opened == len(hsm.calls("C_CloseSession")) - closed == 3
