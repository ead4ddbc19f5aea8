"""Who gives way where the CPUs of a host are short: planned work to what somebody waits for.

Lanes share the token. On a token that computes on the host's CPUs, or where a mass run's own work fills them, the live
signer would wait for a CPU instead (bench.lanes).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICE = 10
"""How nice a process is that does planned work: with it the scheduler gives others about nine times as much where
both want to run (sched(7): 1.25 for each step). A guess."""


def give_way() -> None:
    """Let others go first from now on; called once, by a process that does planned work.

    Linux weighs processes of different sessions by the niceness of their groups (sched(7), "The autogroup feature"),
    so both are set. Where a service manager has groups of its own, the group's counts for nothing.
    """
    # A service's sandbox may forbid it (@resources of systemd.exec(5)): then its unit decides.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with suppress(OSError):  # a kernel without the feature, or a file system without writing
        Path("/proc/self/autogroup").write_text(f"{NICE}\n", "ascii")
