"""What a sweep leaves behind: `sweep.json` and `sweep.csv` in a directory, and reading the newest again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.capacity.points import Latency, Point
from engine.config import invalid_from
from engine.errors import HomeUnusable, InputRejected

JSON_NAME = "sweep.json"
CSV_NAME = "sweep.csv"
_MILLISECONDS = ("mean_ms", "p50_ms", "p95_ms", "p99_ms")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LatencyPart(_Part):
    """Milliseconds: the mean is exact, percentiles to a fifth."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class PointPart(_Part):
    """A shape and what the token did with it: medians over the slices, which are kept too.

    Attributes:
        compared_per_second: on the curve of knee and fit, the rate as it compares with the others of the curve
            (`engine.capacity.search.curve`); None beside it.
    """

    workers: int
    sessions: int
    batch: int
    per_second: float
    compared_per_second: float | None
    slices_per_second: list[float]
    call: LatencyPart
    wait: LatencyPart
    cpu_microseconds: float


class ModelPart(_Part):
    """A fitted model: `capped-linear` with per_session and cap, or `usl` with gamma, alpha and beta."""

    model: str
    parameters: dict[str, float]
    error: float
    left_out_error: float
    residuals: dict[int, float]


class FitPart(ModelPart):
    """The better model, the measure by which it is, and the other one."""

    chosen_by: str
    other: ModelPart


class Recommended(_Part):
    """What to set: `[issuance].workers` and `sessions` (of each worker), the batch, and `[lanes].parallel`."""

    workers: int
    sessions: int
    batch: int
    parallel: int


class SweepDocument(_Part):
    """Everything a sweep found out.

    Attributes:
        knee_sessions: of all processes together.
        curve_workers: the processes of the points on the curve that knee and fit are from.
        curve_batch: their batch.
        still_growing: the most sessions allowed still brought something: the plateau may be higher.
        cpu_share: of this host's CPUs, what the sweep's processes used at the knee.
        beside: processes that used the token at the same time.
    """

    measured_at: datetime
    seconds: float
    token: str
    serial: str
    model: str
    key: str
    algorithm: str
    cpus: int
    knee_sessions: int
    plateau_per_second: float
    still_growing: bool
    curve_workers: int
    curve_batch: int
    cpu_share: float
    recommended: Recommended
    why: list[str]
    fit: FitPart | None
    points: list[PointPart]
    batches_not_measured: list[int]
    beside: list[str]

    def curve(self) -> dict[int, PointPart]:
        """Return the points of the curve by sessions, ascending."""
        return {point.sessions: point for point in self.points if point.compared_per_second is not None}

    def rates(self) -> dict[int, float]:
        """Return the signatures a second of the curve by sessions, ascending."""
        return {sessions: point.compared_per_second or 0.0 for sessions, point in self.curve().items()}


def point_part(point: Point, compared_per_second: float | None) -> PointPart:
    """Return a point as it is saved; with its rate on the curve, if it is on it."""
    return PointPart(
        workers=point.shape.workers,
        sessions=point.shape.sessions,
        batch=point.shape.batch,
        per_second=round(point.per_second, 2),
        compared_per_second=None if compared_per_second is None else round(compared_per_second, 2),
        slices_per_second=[round(one.per_second, 2) for one in point.slices],
        call=_latency(point.call),
        wait=_latency(point.wait),
        cpu_microseconds=round(point.cpu_microseconds, 1),
    )


def _latency(latency: Latency) -> LatencyPart:
    return LatencyPart(**{name: round(getattr(latency, name), 3) for name in _MILLISECONDS})


def save_document(document: SweepDocument, directory: Path) -> None:
    """Write `sweep.json` and `sweep.csv`.

    Raises:
        HomeUnusable: the directory cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = directory / (JSON_NAME + ".partial")
        partial.write_text(document.model_dump_json(indent=2) + "\n", "utf-8")
        _write_csv(document.points, directory / CSV_NAME)
        partial.rename(directory / JSON_NAME)
    except OSError as error:
        message = "the sweep cannot be saved"
        raise HomeUnusable(message, place=str(directory), value=error.strerror) from error


def _write_csv(points: Sequence[PointPart], path: Path) -> None:
    names = [f"{kind}_{name}" for kind in ("call", "wait") for name in _MILLISECONDS]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "workers",
                "sessions",
                "batch",
                "per_second",
                "compared_per_second",
                "slices",
                *names,
                "cpu_microseconds",
            ]
        )
        for point in points:
            latencies = [getattr(part, name) for part in (point.call, point.wait) for name in _MILLISECONDS]
            writer.writerow(
                [
                    point.workers,
                    point.sessions,
                    point.batch,
                    point.per_second,
                    point.compared_per_second,
                    len(point.slices_per_second),
                    *latencies,
                    point.cpu_microseconds,
                ]
            )


def newest_sweep(directory: Path) -> Path:
    """Return the newest `sweep.json` below a directory of sweeps: their directories are named by time.

    Raises:
        InputRejected: there is none.
    """
    found = sorted(directory.glob(f"*/{JSON_NAME}"))
    if not found:
        rule = "measure first with: sealmint pool sweep; or name one with --sweep"
        raise InputRejected("the token was never swept", place=str(directory), rule=rule)
    return found[-1]


def load_document(path: Path) -> SweepDocument:
    """Read a sweep again.

    Raises:
        InputRejected: the file cannot be read.
        ConfigurationInvalid: it is not what a sweep writes.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRejected("the sweep cannot be read", place=str(path), value=str(error)) from error
    try:
        return SweepDocument.model_validate_json(text)
    except ValidationError as error:
        raise invalid_from(error, path) from error
