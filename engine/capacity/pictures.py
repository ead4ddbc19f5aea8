"""The pictures of a sweep: throughput with fit and knee, and latency, against sessions.

Colours are those of M. Okabe and K. Ito, distinct to colour-blind eyes; every series has a marker and a line style of
its own, so that the pictures are read in grey as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.capacity.document import ModelPart, SweepDocument
from engine.errors import HomeUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

NAMES = ("throughput", "latency")
FORMATS = ("png", "svg")

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#555555"
_DOTS_AN_INCH = 160
_MODEL_NAMES = {"capped-linear": "capped linear", "usl": "Universal Scalability Law"}


def draw_pictures(document: SweepDocument, directory: Path) -> list[Path]:
    """Draw both pictures as PNG and SVG into a directory, and return their paths.

    Needs matplotlib and numpy (`require_instruments`).

    Raises:
        HomeUnusable: they cannot be written.
    """
    return [
        path
        for name, draw in (("throughput", _throughput), ("latency", _latency))
        for path in _save(document, directory, name, draw)
    ]


def _save(
    document: SweepDocument, directory: Path, name: str, draw: Callable[[Axes, SweepDocument], None]
) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, document)
    _sessions_axis(axes, document)
    figure.text(0.995, 0.005, _origin(document), ha="right", va="bottom", fontsize=7, color=_GREY)
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))  # type: ignore[union-attr, call-arg]  # it has one: see above
    paths = [directory / f"{name}.{ending}" for ending in FORMATS]
    try:
        for path in paths:
            figure.savefig(path, dpi=_DOTS_AN_INCH)
    except OSError as error:
        raise HomeUnusable(
            "the picture cannot be saved", place=str(directory), value=error.strerror
        ) from error
    return paths


def _sessions_axis(axes: Axes, document: SweepDocument) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    most = max(document.curve())
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(most.bit_length() + 1) if 2**power <= most]
    knee = document.knee_sessions
    shown = sorted({tick for tick in ticks if not 1 < max(tick, knee) / min(tick, knee) < 1.3} | {knee})
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(tick) for tick in shown])
    axes.set_xlim(0.9, max(most, 2) * 1.12)
    axes.set_xlabel("sessions of all processes together (logarithmic)")
    axes.grid(True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _throughput(axes: Axes, document: SweepDocument) -> None:
    rates = document.rates()
    for point in document.curve().values():
        scale = rates[point.sessions] / point.per_second
        low, high = _quartiles(point.slices_per_second)
        axes.vlines(point.sessions, low * scale, high * scale, color=_BLUE, linewidth=1.4, alpha=0.55)
    axes.plot(
        list(rates),
        list(rates.values()),
        "o",
        color=_BLUE,
        markersize=7,
        label="measured (bar: middle half of slices)",
    )
    if document.fit is not None:
        _model(axes, document.fit, document, _ORANGE, "-", "kept: ")
        _model(axes, document.fit.other, document, _GREEN, "--", "")
    level, knee = document.plateau_per_second, document.knee_sessions
    axes.axhline(level, color=_GREY, linewidth=1, linestyle=":")
    axes.axvline(knee, color=_RED, linewidth=1.2, linestyle="-.")
    axes.plot(
        [knee],
        [rates[knee]],
        "D",
        color="white",
        markeredgecolor=_RED,
        markeredgewidth=2,
        markersize=10,
        zorder=5,
        label=f"knee: {knee} session{'s' if knee > 1 else ''}, {rates[knee]:,.0f} a second",
    )
    axes.plot([], [], ":", color=_GREY, label=f"plateau: {level:,.0f} a second")
    axes.set_ylim(0, max(*rates.values(), level) * 1.15)
    axes.set_ylabel("signatures a second")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title(_title("Throughput", document), loc="left", fontsize=11)
    axes.legend(loc="lower right", frameon=True, framealpha=0.92, fontsize=8.5)


def _model(
    axes: Axes, part: ModelPart, document: SweepDocument, colour: str, style: str, prefix: str
) -> None:
    import numpy as np

    from engine.capacity.models import predict

    sessions = np.geomspace(1, max(document.curve()), 400)
    label = f"{prefix}{_MODEL_NAMES[part.model]} (left-out error {part.left_out_error:.1%})"
    axes.plot(
        sessions,
        predict(part.model, part.parameters, sessions),
        style,
        color=colour,
        linewidth=1.8,
        label=label,
    )


def _latency(axes: Axes, document: SweepDocument) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    curve = document.curve()
    sessions = list(curve)
    for name, colour, marker, style in (
        ("p50", _BLUE, "o", "-"),
        ("p95", _GREEN, "s", "--"),
        ("p99", _ORANGE, "^", "-"),
    ):
        call = [getattr(point.call, f"{name}_ms") for point in curve.values()]
        axes.plot(sessions, call, style, marker=marker, color=colour, linewidth=1.8, label=f"call, {name}")
    wait = [point.wait.p50_ms for point in curve.values()]
    axes.plot(
        sessions,
        wait,
        ":",
        marker="x",
        color=_GREY,
        linewidth=1.4,
        label="wait for a session, p50 (queue full)",
    )
    knee = document.knee_sessions
    axes.axvline(
        knee,
        color=_RED,
        linewidth=1.2,
        linestyle="-.",
        label=f"knee: {knee} session{'s' if knee > 1 else ''}",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("milliseconds (logarithmic)")
    axes.set_title(_title("Latency of a signature", document), loc="left", fontsize=11)
    axes.legend(loc="upper left", frameon=True, framealpha=0.92, fontsize=8.5)


def _quartiles(slices: list[float]) -> tuple[float, float]:
    ordered = sorted(slices)
    return ordered[(len(ordered) - 1) // 4], ordered[-1 - (len(ordered) - 1) // 4]


def _title(what: str, document: SweepDocument) -> str:
    processes = f"{document.curve_workers} process{'es' if document.curve_workers > 1 else ''}"
    return f"{what} of token {document.token} ({document.model}): {processes}, batch {document.curve_batch}"


def _origin(document: SweepDocument) -> str:
    return (
        f"sealmint pool sweep, {document.measured_at:%Y-%m-%d %H:%M} UTC, {document.cpus} CPUs, "
        f"{document.algorithm}"
    )
