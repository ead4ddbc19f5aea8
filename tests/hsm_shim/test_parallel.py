"""`parallel N` of the pretend HSM: N calls at once over all processes, nothing lost with the dead or the stopped."""

from __future__ import annotations

import signal
import struct
import subprocess
from pathlib import Path

from tests.hsm_shim import HsmShim
from tests.hsm_shim.conftest import Run, Start

LATENCY_US = 20_000


def line(shim: HsmShim) -> tuple[int, int]:
    """How many tickets were drawn, and how many served, so far."""
    path = Path(f"{shim.control_path}.parallel")
    drawn, served = struct.unpack("II", path.read_bytes()[:8]) if path.exists() else (0, 0)
    return drawn, served


def wait_for_line(shim: HsmShim, drawn: int, served: int) -> None:
    while line(shim) != (drawn, served):
        pass


def ready(start: Start, signers: int) -> subprocess.Popen[str]:
    """Start a program that signs with so many threads when told; return it when it is logged in.

    One after the other: while SoftHSM logs in, a process that loads it finds no token.
    """
    program = start(f"sign_side_by_side({signers}, told=True)")
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


def tell(program: subprocess.Popen[str]) -> None:
    """Let it sign."""
    assert program.stdin is not None
    program.stdin.write("sign\n")
    program.stdin.flush()


def test_calls_of_one_process_wait_for_a_processor(run: Run, shim: HsmShim) -> None:
    run("""
        hsm.cap_parallel(1)
        hsm.latency("C_Sign", 10_000)
        sign_side_by_side(3)
    """)
    times = [signature.time_ns for signature in shim.signatures()]
    assert len(times) == 3
    assert times[2] - times[0] >= 2 * 10_000_000  # one after the other, each with its latency


def test_processes_share_the_processors(start: Start, shim: HsmShim) -> None:
    shim.cap_parallel(2)
    shim.latency("C_Sign", LATENCY_US)
    programs = [ready(start, 3) for _ in range(2)]
    for program in programs:
        tell(program)
    assert [program.wait() for program in programs] == [0, 0]
    times = sorted(signature.time_ns for signature in shim.signatures())
    assert len(times) == 6
    # A signature is logged on its processor, a latency after it came there: three within one latency of each other
    # would have been there at once.
    assert all(third - first >= LATENCY_US * 1000 for first, third in zip(times, times[2:], strict=False))


def test_who_is_stopped_in_the_line_is_passed_over_and_served_later(start: Start, shim: HsmShim) -> None:
    shim.cap_parallel(1)
    inside, stopped, behind = (ready(start, 1) for _ in range(3))
    arm = shim.hang_next(
        "C_Sign"
    )  # of each process: the first hangs on the processor, the others wait for it
    for number, program in enumerate((inside, stopped, behind), 1):
        tell(program)
        wait_for_line(shim, drawn=number, served=1)
    stopped.send_signal(signal.SIGSTOP)
    shim.disarm(arm)
    assert [inside.wait(), behind.wait()] == [0, 0]
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait() == 0
    assert [signature.process for signature in shim.signatures()] == [inside.pid, behind.pid, stopped.pid]


def test_a_dead_process_gives_its_processor_and_its_turn_back(start: Start, shim: HsmShim) -> None:
    inside, waiting, last = (ready(start, signers) for signers in (1, 2, 1))
    shim.cap_parallel(1)
    shim.latency("C_Sign", 3_600_000_000)
    for program, drawn in ((inside, 1), (waiting, 3)):
        tell(program)
        wait_for_line(shim, drawn, served=1)
    shim.latency("C_Sign", 0)
    tell(last)
    wait_for_line(shim, drawn=4, served=1)
    for program in (waiting, inside):
        program.kill()
        program.wait()
    assert last.wait() == 0
    assert {signature.process for signature in shim.signatures()} == {last.pid}


def test_a_cap_that_is_taken_away_lets_those_who_wait_go_on(start: Start, shim: HsmShim) -> None:
    inside, waiting = ready(start, 1), ready(start, 2)
    shim.cap_parallel(1)
    shim.latency("C_Sign", 3_600_000_000)
    tell(inside)
    wait_for_line(shim, drawn=1, served=1)
    shim.latency("C_Sign", 0)
    tell(waiting)
    wait_for_line(shim, drawn=3, served=1)
    shim.cap_parallel(0)
    assert waiting.wait() == 0
    assert len(shim.signatures()) == 2
