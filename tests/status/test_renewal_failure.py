"""A renewal that fails keeps nothing else from working: the process that renews has the CRLs to publish."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from engine.control.server import ControlServer
from engine.errors import ClockWrong, KeyMismatch, PinIncorrect, SealmintError, SignerUnavailable
from engine.metrics.registry import Metrics
from engine.pkcs11.pin import Pin
from engine.status import responder_renewal
from engine.status.responder_renewal import RETRY_SECONDS, renew_in_time
from engine.status.service import Service, StandardInput
from engine.store.database import Store
from tests.status.ocsp_authority import OcspAuthority


@pytest.fixture
def service(store: Store, tmp_path: Path) -> Service:
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])
    context, control = OcspAuthority(store, tmp_path).context, ControlServer(tmp_path, "test", Metrics())
    return Service("test", context, log, trio.Event(), argparse.Namespace(), control, StandardInput())


@pytest.mark.parametrize(
    "error",
    [KeyMismatch("another key"), ClockWrong("behind"), SignerUnavailable("away")],
    ids=lambda error: type(error).__name__,
)
async def test_what_fails_is_tried_again_soon(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    error: SealmintError,
) -> None:
    looks: list[float] = []

    def look(context: object) -> bool:
        looks.append(trio.from_thread.run_sync(trio.current_time))
        if len(looks) == 3:
            trio.from_thread.run_sync(service.stop.set)
            return False
        raise error

    monkeypatch.setattr(responder_renewal, "renewal_is_due", look)
    await renew_in_time(service, Pin("1234"))
    assert [later - looks[0] for later in looks] == [0, RETRY_SECONDS, 2 * RETRY_SECONDS]


async def test_a_wrong_pin_is_never_tried_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(context: object) -> bool:
        raise PinIncorrect("no")

    monkeypatch.setattr(responder_renewal, "renewal_is_due", look)
    with pytest.raises(PinIncorrect):
        await renew_in_time(service, Pin("1234"))
