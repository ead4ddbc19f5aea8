"""What a process that signs asks of the Python interpreter."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.0001
"""How long a busy thread keeps the interpreter when another wants it. A session's thread wants it for some microseconds
between two calls to the token; with Python's 5 ms it waits longer than a signature takes whenever a batch is prepared
or stored beside it (bench.presign: 0.85 of the token's rate at 5 ms, 0.90 at 0.1 ms)."""


def settle_for_signing() -> None:
    """Prepare the interpreter of a process whose threads sign; called once, when everything is loaded."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # What is loaded by now stays: the collector need not walk it again and again (bench.issuance: 1 µs a certificate).
    gc.freeze()
