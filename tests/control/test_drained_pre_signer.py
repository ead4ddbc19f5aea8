"""A pre-signer that is drained keeps its pool and leaves the token alone; undone, it signs what is owed."""

from __future__ import annotations

from pathlib import Path

from tests.cli.prepared_home import copy_of, run_here
from tests.status.conftest import issued_home
from tests.status.ocsp_home import OcspHome

__all__ = ["issued_home"]


def test_it_waits_and_goes_on(issued_home: OcspHome, tmp_path: Path) -> None:
    home = OcspHome(copy_of(issued_home.home, tmp_path / "copy"))
    home.home.hsm.latency("C_Sign", 250_000)  # so that there is work in hand when it is drained
    with home.service("pre_signer") as service:
        assert service.wait_until(lambda: service.has_said("signing"))
        home.home.look("pool", "drain", "--process", "pre-signer")
        home.home.hsm.reset()

        def is_drained() -> bool:
            (process,) = home.home.look("pool", "status").json["processes"]
            pool = process[
                "pool"
            ]  # none while one is opened in the place of that whose work in hand has failed
            return pool is not None and pool["sessions"] == [] and pool["drained"]

        def undone() -> bool:
            undo = ("pool", "drain", "--process", "pre-signer", "--undo", "--home", home.path, "--json")
            return run_here(*undo).code == 0

        assert service.wait_until(is_drained)
        assert not home.is_all_answered()
        assert service.wait_until(undone)
        assert service.wait_until(home.is_all_answered)
        assert service.stop() == 0
