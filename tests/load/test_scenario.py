"""Scenarios: what is shipped, what is refused, and what --seconds and --rate make of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.load import scenario as module
from bench.load.rate_curve import Piece
from bench.load.scenario import Burst, Ramp, checked, load_scenario
from engine.errors import ConfigurationInvalid

SHIPPED = {
    "relying-party-post",
    "relying-party-get",
    "nonce",
    "crl-fetchers",
    "repository-searchers",
    "mixed-day",
    "revocation-storm",
    "issuance-while-serving",
}
PLAIN: dict[str, Any] = {
    "name": "plain",
    "about": "",
    "stages": [{"shape": "constant", "seconds": 10, "rate": 5}],
    "kinds": [{"kind": "post", "weight": 3}, {"kind": "search", "optional": True}],
}


def test_the_shipped_scenarios_can_be_read_and_are_called_as_their_files() -> None:
    assert {path.stem for path in module.SHIPPED.glob("*.toml")} == SHIPPED
    for name in SHIPPED:
        assert load_scenario(name).name == name
        assert load_scenario(name).curve.seconds <= 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "stages"),
        ({"stages": [{"shape": "wave", "seconds": 1}]}, "wave"),
        ({"stages": [{"shape": "constant", "seconds": 10, "rate": -1}]}, "rate"),
        ({"stages": [{"shape": "constant", "seconds": 10, "rate": 0}]}, "arrivals"),
        ({"stages": [{"shape": "constant", "seconds": 100_000, "rate": 1}]}, "arrivals"),
        ({"stages": [{"shape": "constant", "seconds": 1_000, "rate": 900_000}]}, "arrivals"),
        (
            {"stages": [{"shape": "burst", "seconds": 9, "rate": 1, "burst": 2, "every": 3, "lasting": 3}]},
            "burst",
        ),
        ({"kinds": [{"kind": "post"}, {"kind": "post"}]}, "twice"),
        ({"kinds": [{"kind": "put"}]}, "kind"),
        ({"verify": 1.1}, "verify"),
        ({"connexions": 5}, "connexions"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=said):
        checked(PLAIN | changes, "plain")


def test_bursts_and_ramps_as_pieces() -> None:
    burst = Burst(shape="burst", seconds=7, rate=1, burst=9, every=3, lasting=1)
    assert burst.pieces == [Piece(2, 1, 1), Piece(1, 9, 9), Piece(2, 1, 1), Piece(1, 9, 9), Piece(1, 1, 1)]
    assert Ramp(shape="ramp", seconds=4, first=0, last=10).pieces == [Piece(4, 0, 10)]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_another_length_keeps_the_rates_and_another_rate_the_length(name: str) -> None:
    whole = load_scenario(name)
    short = whole.lasting(whole.curve.seconds / 4)
    assert short.curve.seconds == pytest.approx(whole.curve.seconds / 4)
    assert short.curve.arrivals == pytest.approx(whole.curve.arrivals / 4)
    fast = whole.faster(5)
    assert fast.curve.seconds == whole.curve.seconds
    assert fast.curve.arrivals == pytest.approx(5 * whole.curve.arrivals)
    if whole.acts is not None and short.acts is not None:
        assert short.acts.start == whole.acts.start / 4


def test_without_a_kind_the_others_are_asked_as_often_as_before() -> None:
    left = checked(PLAIN, "plain").without("search")
    assert [kind.kind for kind in left.kinds] == ["post"]
    assert left.curve.arrivals == pytest.approx(50 * 3 / 4)
    with pytest.raises(ConfigurationInvalid, match="serves nothing"):
        left.without("post")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\nabout = "x"\nstages = [{shape="constant", seconds=1, rate=2}]\nkinds=[{kind="crl"}]\n'
    )
    assert load_scenario(str(path)).name == "own"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationInvalid, match="not TOML"):
        load_scenario(str(path))
