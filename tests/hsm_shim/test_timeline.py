"""The timeline of the pretend HSM, and its latencies: origins in the past and the future stand for waiting."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.hsm_shim import HsmShim
from tests.hsm_shim.conftest import Run, Start


def test_statements_are_in_force_in_their_time_only(run: Run) -> None:
    said = run("""
        timeline = ["from 10 to 20 fail C_GetSessionInfo 0x30 rate 1", "at 30 fail C_GetSessionInfo 0x31 rate 1"]
        session = token.open_session()
        for second in (5, 15, 25, 35):
            hsm.play(timeline, time.monotonic_ns() - second * 10**9)
            print(refused(token.is_logged_in, session))
    """)
    assert said == ["CKR_OK", "CKR_DEVICE_ERROR", "CKR_OK", "CKR_DEVICE_MEMORY"]


def test_the_last_setting_in_force_holds(run: Run) -> None:
    said = run("""
        hsm.cap_sessions(7)
        for second in (5, 15, 25):
            hsm.play(["from 10 to 20 sessions 3", "from 0 to 10 sessions 5"], time.monotonic_ns() - second * 10**9)
            print(token.limits().max_sessions)
    """)
    assert said == ["5", "3", "7"]


def test_a_restart_comes_at_its_moment_to_every_process_that_was_there(run: Run, start: Start) -> None:
    watching = """
        session = token.open_session()
        print("ready", flush=True)
        sys.stdin.readline()
        print(refused(token.is_logged_in, session))
    """
    other = start(watching)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    said = run("""
        old = token.open_session()
        hsm.play(["at 0 restart", "at 3600 restart"])
        print(refused(token.is_logged_in, old))
        fresh = token.open_session()
        print(refused(token.is_logged_in, fresh))
    """)
    assert said == ["CKR_SESSION_HANDLE_INVALID", "CKR_OK"]
    assert other.communicate("go\n")[0] == "CKR_SESSION_HANDLE_INVALID\n"


def test_a_restart_of_the_past_is_over(run: Run) -> None:
    said = run("""
        session = token.open_session()
        hsm.play(["at 20 restart"], time.monotonic_ns() - 30 * 10**9)
        print(refused(token.is_logged_in, session))
    """)
    assert said == ["CKR_OK"]


def test_an_absent_token_takes_its_sessions_along(run: Run, shim: HsmShim) -> None:
    said = run("""
        session = logged_in()
        key = find_private_key(session, rsa)
        hsm.away(3600)
        print(refused(key.sign, b"x", **by_hash), refused(token.is_logged_in, session))
        print(refused(token.open_session))
        print(len(module.python_library.get_slots(token_present=True)))
        hsm.play([])
        print(refused(token.is_logged_in, session), token.is_logged_in(token.open_session()))
    """)
    assert said == [
        "CKR_DEVICE_REMOVED CKR_DEVICE_REMOVED",
        "CKR_TOKEN_NOT_PRESENT",
        "0",
        "CKR_SESSION_HANDLE_INVALID False",
    ]
    assert shim.signatures() == []


def test_an_absence_that_nobody_saw_ended_the_sessions_all_the_same(run: Run) -> None:
    said = run("""
        session = token.open_session()
        began = hsm.play(["from 0 to 0.000001 away"])
        while time.monotonic_ns() <= began + 1000:
            pass
        print(refused(token.is_logged_in, session), refused(token.open_session))
    """)
    assert said == ["CKR_SESSION_HANDLE_INVALID CKR_OK"]


def test_a_call_that_had_begun_when_the_token_went_fails_and_signs_nothing(run: Run, shim: HsmShim) -> None:
    said = run("""
        key = find_private_key(logged_in(), rsa)
        hsm.latency("C_Sign", 30_000)
        hsm.play(["from 0.02 to 3600 away"])
        print(refused(key.sign, b"x", **by_hash))
    """)
    assert said == ["CKR_DEVICE_REMOVED"]
    assert shim.signatures() == []


def test_a_timeline_may_be_a_file_with_comments(shim: HsmShim, tmp_path: Path) -> None:
    script = tmp_path / "timeline"
    script.write_text(
        "# a day\n\nat 20 restart\nfrom 1 to 2 hang C_Sign count 3  # stuck\nat 9 fail C_Sign 0x30 rate 5\n"
    )
    shim.play(script, origin_ns=7)
    assert shim.control_path.read_text().splitlines() == [
        "restart 0",
        "origin 7",
        "at 20 restart",
        "from 1 to 2 hang C_Sign count 3 arm 1",
        "at 9 fail C_Sign 0x30 rate 5 arm 2",
    ]


def test_an_absence_keeps_the_timeline(shim: HsmShim) -> None:
    origin = shim.play(["at 20 restart"], origin_ns=time.monotonic_ns() - 5 * 10**9)
    shim.away(2)
    *_, said, restart, away = shim.control_path.read_text().splitlines()
    _, begin, _, end, _ = away.split()
    assert (said, restart) == (f"origin {origin}", "at 20 restart")
    assert float(begin) >= 5
    assert float(end) - float(begin) == pytest.approx(2)


@pytest.mark.parametrize(
    ("statement", "median", "p99"),
    [
        ("latency_uniform('C_GetSessionInfo', 200, 1200)", 700, 1190),
        ("latency_exponential('C_GetSessionInfo', 700)", 485, 3224),
        ("latency_lognormal('C_GetSessionInfo', 500, 2500)", 500, 2500),
    ],
)
def test_latencies_follow_their_distribution(run: Run, statement: str, median: int, p99: int) -> None:
    """More than half of the calls cannot be faster than the median: how slow a loaded machine is does not count."""
    said = run(f"""
        hsm.seed(1)
        session = token.open_session()
        def call():
            began = time.monotonic_ns()
            token.is_logged_in(session)
            return time.monotonic_ns() - began
        bare = [call() for _ in range(50)]
        hsm.{statement}
        took = sorted(call() / 1000 for _ in range(400))
        print(took[200], took[395])
    """)
    middle, late = map(float, said[0].split())
    assert middle > 0.85 * median
    assert late > 0.6 * p99
