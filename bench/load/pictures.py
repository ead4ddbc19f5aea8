"""The pictures of a report: SVG that takes its colours from the page, so that light and dark fit it.

Each is drawn twice, for wide and for narrow windows: a picture that is only shrunk cannot be read. All have the same
time axis.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bench.load.objectives import PERCENTILES

WIDE, NARROW = (10.4, 2.9), (4.3, 2.9)
"""Inches at 72 points: 750 and 310 points, which a page of 1280 and of 390 pixels shows a little larger."""

_INK, _GRID = "#010203", "#040506"
_LINES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
"""Stand-ins: no picture has these colours, each is replaced by a variable of the page."""

_VARIABLES = {_INK: "var(--ink)", _GRID: "var(--grid)"} | {
    colour: f"var(--line-{number})" for number, colour in enumerate(_LINES, 1)
}

_STYLE: Any = {  # matplotlib's own type is a list of all its parameters
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}

_STYLES = ("-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1)))
"""Besides the colours: not everyone tells these apart."""

Lines = Mapping[str, tuple[Sequence[float], Sequence[float | None]]]
"""By label: seconds, and values; a value that is missing leaves a gap."""

Drawing = Callable[[Axes], None]


class Picture:
    """A picture with a title, in both widths.

    Args:
        title: what it shows.
        drawing: draws it.
        seconds: the end of the time axis.
    """

    def __init__(self, title: str, drawing: Drawing, seconds: float) -> None:
        self.title = title
        self.wide = _drawn(drawing, WIDE, seconds, title)
        self.narrow = _drawn(drawing, NARROW, seconds, title)


_numbers = itertools.count()


def _drawn(drawing: Drawing, size: tuple[float, float], seconds: float, title: str) -> str:
    """Draw, and return the SVG element without XML's preamble."""
    style = _STYLE | {"svg.hashsalt": f"picture {next(_numbers)}"}
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        drawing(axes)
        axes.set_xlim(0, seconds)
        axes.set_xlabel("seconds")
        axes.set_ylim(bottom=0 if axes.get_yscale() == "linear" else None)
        if axes.get_legend_handles_labels()[1]:
            columns = 6 if size is WIDE else 3
            figure.legend(loc="outside upper left", ncols=columns, handlelength=2.4, columnspacing=1.2)
        octets = io.BytesIO()
        figure.savefig(octets, format="svg", transparent=True, metadata={"Date": None})
    text = octets.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(
        r'^<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', text
    )
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def lines(values: Lines, label: str, *, logarithmic: bool = False, steps: bool = False) -> Drawing:
    """Return what draws lines.

    Args:
        values: the lines.
        label: of the value axis, with its unit.
        logarithmic: whether that axis is.
        steps: whether a value holds until the next.
    """

    def draw(axes: Axes) -> None:
        for number, (name, (seconds, heights)) in enumerate(values.items()):
            if not any(heights):
                continue  # nothing all the time; the others keep their colours
            shown = [float("nan") if one is None else one for one in heights]
            at = [*seconds, seconds[-1] + 1] if steps else list(seconds)
            axes.plot(
                at,
                [*shown, shown[-1]] if steps else shown,
                label=name,
                color=_LINES[number % len(_LINES)],
                linestyle=_STYLES[number % len(_STYLES)],
                linewidth=1.4,
                drawstyle="steps-post" if steps else "default",
                marker="." if sum(one is not None for one in heights) == 1 else "",
            )
        axes.set_ylabel(label)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return draw


def bars(values: Lines, label: str) -> Drawing:
    """Return what draws bars, one upon the other."""

    def draw(axes: Axes) -> None:
        bottoms: dict[float, float] = {}
        for number, (name, (seconds, heights)) in enumerate(values.items()):
            shown = [one or 0.0 for one in heights]
            under = [bottoms.get(second, 0.0) for second in seconds]
            axes.bar(
                list(seconds),
                shown,
                width=1.0,
                bottom=under,
                align="edge",
                label=name,
                color=_LINES[number % len(_LINES)],
            )
            bottoms |= {second: low + one for second, low, one in zip(seconds, under, shown, strict=True)}
        axes.set_ylabel(label)

    return draw


def pictures_of(result: Mapping[str, Any]) -> list[Picture]:
    """Return the pictures of a result; those of the server where it was sampled."""
    series, seconds = result["series"], result["seconds"]
    at = [one["second"] for one in series]
    rates = {name: (at, [one[name] for one in series]) for name in ("offered", "sent", "good", "cached")}
    times = {label: (at, [one[label] for one in series]) for label in PERCENTILES}
    latency = {name.replace("_ms", ""): line for name, line in times.items()}
    failures = _failures(series, at)
    return [
        Picture("Arrivals a second", lines(rates, "a second", steps=True), seconds),
        Picture(
            "Latency of good answers, from when each was due", lines(latency, "ms", logarithmic=True), seconds
        ),
        Picture(f"Failures a second{'' if failures else ': none'}", bars(failures, "a second"), seconds),
        *_of_server(result["server"], seconds),
    ]


def _failures(series: Sequence[Mapping[str, Any]], at: list[int]) -> Lines:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for group in ("errors", "wrong", "missed"):
        for name in sorted({name for one in series for name in one[group]}):
            label = name if group == "errors" else f"{group}: {name}"
            found[label] = at, [one[group].get(name, 0) for one in series]
    return found


def _of_server(samples: Sequence[Mapping[str, Any]], seconds: float) -> list[Picture]:
    if not any(sample["lanes"] for sample in samples):
        return []
    at: list[float] = [sample["second"] for sample in samples]
    lanes = sorted({lane for sample in samples for lane in sample["lanes"]})
    states = sorted({state for sample in samples for state in sample["sessions"]})

    def of_lanes(figure: str) -> Lines:
        return {
            lane: (at, [sample["lanes"].get(lane, {}).get(figure) for sample in samples]) for lane in lanes
        }

    signed = {lane: (at, _rates(at, values)) for lane, (_, values) in of_lanes("done").items()}
    sessions = {state: (at, [sample["sessions"].get(state, 0) for sample in samples]) for state in states}
    spent = _cpu(at, samples)
    drawn = [
        ("Server: signatures a second, by lane", signed, "a second"),
        ("Server: waiting for a session, by lane", of_lanes("waiting"), "messages"),
        ("Server: p99 of waiting in the pool, by lane", of_lanes("wait_p99_ms"), "ms"),
        ("Server: sessions, by state", sessions, "sessions"),
        ("Server: CPU, of the busiest processes", spent, "CPUs"),
    ]
    return [Picture(title, lines(values, label), seconds) for title, values, label in drawn]


def _cpu(at: Sequence[float], samples: Sequence[Mapping[str, Any]]) -> Lines:
    """CPUs that each process keeps busy; of those that took most, as many as there are colours."""
    names = {name for sample in samples for name in sample["processes"]}
    spent = {
        name: [sample["processes"].get(name, {}).get("cpu_seconds") for sample in samples] for name in names
    }
    busiest = sorted(names, key=lambda name: -max(one or 0.0 for one in _rates(at, spent[name])))
    return {name: (at, _rates(at, spent[name])) for name in busiest[: len(_LINES)]}


def _rates(at: Sequence[float], totals: Sequence[float | None]) -> list[float | None]:
    """How fast a total grows; nothing where it does not: a process was started anew."""
    found: list[float | None] = [None]
    for (before, then), (after, now) in itertools.pairwise(zip(totals, at, strict=True)):
        grown = None if before is None or after is None or after < before else after - before
        found.append(None if grown is None or now <= then else grown / (now - then))
    return found
