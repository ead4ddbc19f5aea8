"""From what a sweep found to what should be set, with the reasons in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.capacity.document import Recommended
from engine.capacity.knee import KNEE_SHARE
from engine.capacity.points import Point
from engine.capacity.search import BATCH_SHARE, Found

OWN_WORK_SECONDS = 180e-6
"""CPU time that a run spends on a certificate besides the token's, on the machine of docs/performance.md
(bench.issuance: 803 µs less the 625 µs of a SoftHSM signature)."""

CPU_SHARE = 0.8
"""How much of a CPU a worker process may be expected to use: Python computes on one at a time. A guess."""

ON_OUR_CPUS = 0.5
"""With so much of a call's time spent as CPU time of our processes the token computes here. A guess: SoftHSM spends
nearly all of it, a client of a network HSM nearly none."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to set, and why."""

    recommended: Recommended
    why: list[str]


def recommend(
    found: Found, curve: Mapping[int, Point], rates: Mapping[int, float], batches: Sequence[Point], cpus: int
) -> Recommendation:
    """Return what to set, and why.

    Args:
        found: what the search found.
        curve: the points of the curve by sessions.
        rates: signatures a second of the curve by sessions.
        batches: the points at the knee, one a batch.
        cpus: of this host.
    """
    knee = found.knee_sessions
    workers, why_workers = _workers(found, curve, cpus)
    each = -(-knee // workers)
    return Recommendation(
        Recommended(workers=workers, sessions=each, batch=found.batch, parallel=knee),
        [
            _why_knee(found, rates),
            why_workers,
            _why_sessions(workers, each, knee),
            _why_batch(found, batches),
            f"[lanes].parallel = {knee}: the token works on so many calls at once to some use. More in flight would "
            "only wait inside it, where no lane goes before another.",
        ],
    )


def _workers(found: Found, curve: Mapping[int, Point], cpus: int) -> tuple[int, str]:
    at_knee, alone = curve[found.knee_sessions], curve[min(curve)]
    if at_knee.cpu_microseconds / 1e3 >= ON_OUR_CPUS * alone.call.mean_ms:
        workers = max(found.workers, min(cpus, found.knee_sessions))
        return workers, (
            f"{workers} workers: the token computes on this host's CPUs ({at_knee.cpu_microseconds:.0f} µs a "
            f"signature, a call takes {alone.call.mean_ms * 1e3:.0f} µs), and a worker computes on one at a time. "
            "Whatever else runs here takes from it."
        )
    for_own_work = -(-found.plateau * OWN_WORK_SECONDS // CPU_SHARE)
    workers = min(max(found.workers, int(for_own_work), 1), max(cpus, found.workers), found.knee_sessions)
    reach = "one reaches" if found.workers == 1 else f"{found.workers} reach"
    text = f"{workers} worker{'s' if workers > 1 else ''}: {reach} the plateau"
    needed = found.plateau * OWN_WORK_SECONDS
    return workers, (
        f"{text}, and a run's own work at {found.plateau:,.0f} certificates a second is {needed:.2f} CPUs "
        f"(about {OWN_WORK_SECONDS * 1e6:.0f} µs each) of the {cpus} there are."
    )


def _why_knee(found: Found, rates: Mapping[int, float]) -> str:
    knee = found.knee_sessions
    text = (
        f"The knee is at {knee} session{'s' if knee > 1 else ''} in all: the fewest with at least "
        f"{KNEE_SHARE:.0%} of the plateau of {found.plateau:,.0f} signatures a second"
    )
    if knee - 1 in rates:
        text += f" ({knee - 1}: {rates[knee - 1] / found.plateau:.0%}"
        text += f", {knee}: {rates[knee] / found.plateau:.0%})"
    if found.still_growing:
        most = max(rates)
        text += (
            f". The rate still grew up to {most} sessions, the most that were allowed: sweep again with a larger "
            "--max-sessions, if the token has them"
        )
    return text + "."


def _why_sessions(workers: int, each: int, knee: int) -> str:
    if workers * each == knee:
        return f"{each} session{'s' if each > 1 else ''} of each worker: {workers} × {each} are the knee."
    return (
        f"{each} sessions of each worker: {workers} × {each} are the next above the knee of {knee}; [lanes].parallel "
        "keeps the calls in flight at the knee."
    )


def _why_batch(found: Found, batches: Sequence[Point]) -> str:
    chosen = next(point for point in batches if point.shape.batch == found.batch)
    held = found.batch * chosen.call.mean_ms
    text = (
        f"A batch of {found.batch}: the smallest with {BATCH_SHARE:.0%} of what the best one brings; it holds "
        f"a session for {held:.1f} ms, which urgent work may have to wait"
    )
    if found.batches_not_measured:
        skipped = ", ".join(map(str, found.batches_not_measured))
        text += f". Not measured, because they would hold it too long: {skipped}"
    return text + "."
