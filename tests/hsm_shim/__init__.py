"""The pretend network HSM from the side of the tests: building it, steering it, reading its log.

The module itself is the C files beside this one; the control file and the log are described in README.md.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.shared_library import compile_library

SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
CRYPTOKI_HEADERS = Path("/usr/include/p11-kit-1")
"""Where Debian's libp11-kit-dev puts p11-kit/pkcs11.h, the Cryptoki declarations."""


def build(library: Path) -> Path:
    """Compile the module, unless it is newer than its sources; return its absolute path.

    Raises:
        RuntimeError: gcc refused, with what it said.
    """
    # libcrypto by its file name: the link named libcrypto.so comes only with its headers, which are not needed
    options = (f"-I{CRYPTOKI_HEADERS}", "-l:libcrypto.so.3", "-lpthread", "-lm")
    return compile_library(SOURCES, library, *options)


@dataclass(frozen=True)
class LoggedSignature:
    """A SIGN line: one signature that the token made or refused to make."""

    time_ns: int
    process: int
    session: int
    mechanism: int
    digest: str
    result: int
    discarded: bool


@dataclass(frozen=True)
class LoggedCall:
    """A CALL line: a call of another function. `detail` is C_Initialize's flags or C_Login's user type."""

    time_ns: int
    process: int
    function: str
    session: int
    detail: int
    result: int


class HsmShim:
    """Steers one pretend HSM through its control file, and reads its log.

    One object steers: it writes the whole file each time, and begins with an empty one.

    Args:
        directory: where control file and log lie; made if missing. Processes that share it share one HSM.
        wrapped: the PKCS#11 module that does the work.
    """

    def __init__(self, directory: Path, wrapped: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.control_path = directory / "control"
        self.log_path = directory / "log"
        self._wrapped = wrapped
        self._settings: dict[str, str] = {}
        self._rules: dict[int, str] = {}
        self._timeline: list[str] = []
        self._origin_ns = 0
        self._arms = itertools.count(1)
        self._restarts = 0
        self._write()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a process must have before it loads the module."""
        return {
            "HSM_SHIM_MODULE": str(self._wrapped),
            "HSM_SHIM_CONTROL": str(self.control_path),
            "HSM_SHIM_LOG": str(self.log_path),
        }

    def latency(self, function: str, microseconds: int) -> None:
        """Let every call of the function take so much longer."""
        self._set(f"latency {function}", f"latency {function} {microseconds}")

    def latency_uniform(self, function: str, least: float, most: float) -> None:
        """Let calls of the function take longer by a time drawn evenly between two, in microseconds."""
        self._set(f"latency {function}", f"latency {function} uniform {least} {most}")

    def latency_exponential(self, function: str, mean: float) -> None:
        """Let calls of the function take longer by an exponentially distributed time, in microseconds."""
        self._set(f"latency {function}", f"latency {function} exponential {mean}")

    def latency_lognormal(self, function: str, median: float, p99: float) -> None:
        """Let calls of the function take longer by a log-normal time, told by its percentiles, in microseconds."""
        self._set(f"latency {function}", f"latency {function} lognormal {median} {p99}")

    def play(self, timeline: Iterable[str] | Path, origin_ns: int | None = None) -> int:
        """Play a timeline, in place of the one before; return its origin.

        Args:
            timeline: lines `at SECONDS STATEMENT` and `from SECONDS to SECONDS STATEMENT`, or a file of them;
                statements `fail` and `hang` get an arm number if they have none.
            origin_ns: second 0, in nanoseconds of the monotonic clock, which all processes of a host share; now, if it
                is not given.
        """
        lines = timeline.read_text("utf-8").splitlines() if isinstance(timeline, Path) else timeline
        self._origin_ns = time.monotonic_ns() if origin_ns is None else origin_ns
        said = (line.partition("#")[0].strip() for line in lines)
        self._timeline = [self._with_arm(line) for line in said if line]
        self._write()
        return self._origin_ns

    def away(self, seconds: float) -> None:
        """Take the token away for so long from now on: its sessions are lost, and no function finds it."""
        now = time.monotonic_ns()
        self._origin_ns = self._origin_ns or now
        begin = (now - self._origin_ns) / 1e9
        self._timeline.append(f"from {begin:.9f} to {begin + seconds:.9f} away")
        self._write()

    def cap_sessions(self, count: int) -> None:
        """Allow so many sessions over all processes; 0 = no limit."""
        self._set("sessions", f"sessions {count}")

    def cap_parallel(self, count: int) -> None:
        """Let only so many C_Sign calls run at once, over all processes; 0 = no limit."""
        self._set("parallel", f"parallel {count}")

    def seed(self, number: int) -> None:
        """Seed the draws of each process: latencies, and faults that come by rate."""
        self._set("seed", f"seed {number}")

    def hide(self, mechanism: int) -> None:
        """Pretend that the token lacks a mechanism."""
        self._set(f"hide {mechanism}", f"hide {mechanism:#x}")

    def fail_next(self, function: str, result: int, count: int = 1) -> int:
        """Let the next calls of the function, in each process, return this CKR value; return the arm number."""
        return self._arm(f"fail {function} {result:#x} count {count}")

    def fail_one_in(self, function: str, result: int, calls: int) -> int:
        """Let one in so many calls of the function return this CKR value; return the arm number."""
        return self._arm(f"fail {function} {result:#x} rate {calls}")

    def hang_next(self, function: str, count: int = 1) -> int:
        """Let the next calls of the function, in each process, not return until disarmed; return the arm number."""
        return self._arm(f"hang {function} count {count}")

    def disarm(self, arm: int) -> None:
        """Take one armed fault away; calls that hang because of it go on."""
        del self._rules[arm]
        self._write()

    def restart(self) -> None:
        """Kill all sessions and the log-in of every process, at that process's next call."""
        self._restarts += 1
        self._write()

    def reset(self) -> None:
        """Take away every fault, delay and cap, and the timeline."""
        self._settings.clear()
        self._rules.clear()
        self._timeline.clear()
        self._write()

    def signatures(self) -> list[LoggedSignature]:
        """Every signature in the log, oldest first."""
        return [
            LoggedSignature(
                int(time),
                int(process),
                int(session),
                int(mechanism, 16),
                digest,
                int(result, 16),
                end == "discarded",
            )
            for _, time, process, session, mechanism, digest, result, end in self._lines("SIGN")
        ]

    def calls(self, function: str) -> list[LoggedCall]:
        """Every logged call of C_Initialize, C_Finalize, C_OpenSession, C_CloseSession, C_Login, C_Logout."""
        return [
            LoggedCall(int(time), int(process), name, int(session), int(detail, 16), int(result, 16))
            for _, time, process, name, session, detail, result in self._lines("CALL")
            if name == function
        ]

    def hanging(self) -> int:
        """How many calls were caught by a hang so far."""
        return len(self._lines("HANG"))

    def _lines(self, kind: str) -> list[list[str]]:
        if not self.log_path.exists():
            return []
        # Of the last line, a reader may see a part.
        whole, _, _ = self.log_path.read_text("ascii").rpartition("\n")
        lines = whole.split("\n")
        return [line.split(" ") for line in lines if line.startswith(kind)]

    def _set(self, key: str, statement: str) -> None:
        self._settings[key] = statement
        self._write()

    def _arm(self, statement: str) -> int:
        arm = next(self._arms)
        self._rules[arm] = f"{statement} arm {arm}"
        self._write()
        return arm

    def _with_arm(self, line: str) -> str:
        armed = {"fail", "hang"}.intersection(line.split()) and " arm " not in line
        return f"{line} arm {next(self._arms)}" if armed else line

    def _write(self) -> None:
        statements = [*self._settings.values(), *self._rules.values(), f"restart {self._restarts}"]
        if self._timeline:
            statements += [f"origin {self._origin_ns}", *self._timeline]
        fresh = self.control_path.with_suffix(".fresh")
        fresh.write_text("".join(f"{statement}\n" for statement in statements), "ascii")
        fresh.replace(self.control_path)
