"""The report of a load: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from bench.load.pictures import pictures_of

_TEMPLATE = Path(__file__).with_name("report.html")


def write_report(path: Path, result: Mapping[str, Any]) -> None:
    """Write the report of a result.

    Raises:
        OSError: it cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["figure"] = _figure
    rows = [(kind, _row(one)) for kind, one in result["kinds"].items()]
    if len(rows) != 1:
        rows.append(("all", _row(result["total"])))
    page = environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        result=result,
        scenario=result["scenario"],
        rows=rows,
        columns=list(rows[0][1]),
        pictures=pictures_of(result),
        facts=_facts(result),
    )
    path.write_text(page, "utf-8")


def _row(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        **{name: figures[name] for name in ("offered", "sent", "cached", "good", "verified")},
        **{name: sum(figures[name].values()) for name in ("errors", "wrong", "missed")},
        **{label.replace("_ms", ""): value for label, value in figures["latency"].items()},
    }


def _facts(result: Mapping[str, Any]) -> dict[str, object]:
    """What a figure cannot be read without."""
    machine, load = result["machine"], result["load"]
    facts = {
        "OCSP": result["ocsp"],
        "web front": result["http"],
        "seed": result["seed"],
        "processes of the load": result["processes"],
        "connections": result["scenario"]["connections"],
        "CPU of the load": f"{load['cpu_seconds']} s",
        "own lateness": f"p99 {_figure(load['lateness_p99_ms'])} ms, max {_figure(load['lateness_max_ms'])} ms",
        "machine": f"{machine['processor']}, {machine['cpus']} CPUs, {machine['memory_mb']} MB",
        "system": machine["system"],
        "Python": machine["python"],
        "load before": ", ".join(map(str, machine["load_before"])),
    }
    for name in ("changes", "issuance"):
        if result[name] is not None:
            facts[name] = ", ".join(f"{key} {value}" for key, value in result[name].items())
    return facts


def _figure(value: float | None) -> str:
    """A figure as people read it: not more digits than it has meaning."""
    if value is None:
        return "–"
    if isinstance(value, int) or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4
    return f"{value:,.{digits}f}"
