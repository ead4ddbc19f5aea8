"""Without an origin: copies until they expire, then an error; never a stale answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.prepared_home import wait_until
from tests.edge.running_edge import Answer, running_edge
from tests.edge.stand_in_origin import kept, running_origin
from tests.edge.test_cache import BASE64, PATH
from tests.edge.test_conditions import CRL

pytestmark = pytest.mark.judge("nginx")

TARGETS = (f"{PATH}/{BASE64}", CRL)


def test_copies_until_they_expire_and_then_502(tmp_path: Path) -> None:
    with running_origin() as origin:
        origin.answer = lambda asked: kept(b"0kept", seconds=2, ETag='"1"')
        with running_edge(tmp_path / "edge", origin.place, origin.place) as edge:
            for target in TARGETS:
                assert edge.get(target).status == 200
            origin.stop()
            for target in TARGETS:
                answers: list[Answer] = []

                def is_over(target: str = target, answers: list[Answer] = answers) -> bool:
                    answers.append(edge.get(target))
                    return answers[-1].status != 200

                assert wait_until(is_over)
                assert all((one.cache, one.body) == ("hit", b"0kept") for one in answers[:-1])
                last = answers[-1]
                assert (last.status, last.headers["cache-control"]) == (502, "no-store")
                assert last.cache == "fwd=stale"
                assert edge.get(target).status == 502
            assert edge.get("/never/asked").status == 502


def test_an_origin_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    with running_origin() as origin, running_edge(tmp_path / "edge", origin.place, origin.place) as edge:
        origin.stop()
        assert edge.post(b"0back").status == 502
        with running_origin(origin.place) as again:
            assert edge.post(b"0back").body == b"POST / 0back"
            assert len(again.asked) == 1
