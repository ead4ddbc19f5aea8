"""The preloaded library does what it is told, and nothing else."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.prepared_home import environment
from tests.host_faults import BROKEN, DAY, FULL, HostFaults


@pytest.fixture
def faults(tmp_path: Path) -> HostFaults:
    return HostFaults(tmp_path / "host-faults")


def run(faults: HostFaults, script: str, *arguments: object) -> str:
    """Run a script in a process that preloads the library; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, *map(str, arguments)],
        env=environment(**faults.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
def told(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return -error.errno
octets = bytes(100)
print(told(os.write, file, octets), told(os.write, file, octets), told(os.pwrite, file, octets, 500),
    told(os.pwritev, file, [octets], 900), told(os.fsync, file), told(os.fdatasync, file), os.fstat(file).st_size)
"""


def test_without_a_fault_all_is_as_always(faults: HostFaults, tmp_path: Path) -> None:
    assert run(faults, WRITE, tmp_path / "file") == "100 100 100 100 None None 1000"
    assert faults.hits == 0


def test_a_full_disk_takes_half_and_then_nothing(faults: HostFaults, tmp_path: Path) -> None:
    faults.fail(FULL, "/file")
    told = run(faults, WRITE, tmp_path / "file")
    assert told == f"50 {-errno.ENOSPC} 50 {-errno.ENOSPC} None None 550"
    assert faults.hits == 4


def test_a_broken_disk_refuses_and_leaves_half_of_what_has_a_place(
    faults: HostFaults, tmp_path: Path
) -> None:
    faults.fail(BROKEN, "/file")
    refused = -errno.EIO
    told = run(faults, WRITE, tmp_path / "file")
    assert told == f"{refused} {refused} {refused} {refused} {refused} {refused} 550"
    assert faults.hits == 6


def test_other_files_are_left_alone_and_a_fault_ends(faults: HostFaults, tmp_path: Path) -> None:
    faults.fail(BROKEN, "/file")
    assert run(faults, WRITE, tmp_path / "another") == "100 100 100 100 None None 1000"
    faults.heal()
    assert run(faults, WRITE, tmp_path / "file") == "100 100 100 100 None None 1000"


CLOCK = "import time; a, b = time.monotonic(), time.time(); print(a, b, time.time_ns() // 10**9)"


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_the_wall_clock_is_wrong_and_the_monotonic_one_is_not(faults: HostFaults, seconds: int) -> None:
    faults.set_clock_wrong(seconds)
    before = time.monotonic(), int(time.time())
    monotonic, wall, precise = map(float, run(faults, CLOCK).split())
    after = time.monotonic(), time.time()
    assert before[0] <= monotonic <= after[0]
    assert before[1] + seconds <= wall <= after[1] + seconds
    assert before[1] + seconds <= precise <= after[1] + seconds
