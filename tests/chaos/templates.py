"""The homes that rounds copy: one with two plans to work off, one with a run done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cli.prepared_home import PreparedHome, copy_of, sample_rows

MORE_COMPANIES = 4


@dataclass(frozen=True, slots=True)
class Templates:
    """Attributes:
    planned: run 1 is planned; extract and cards of a second one are at hand.
    issued: run 1 is completed; nothing was published of it.
    """

    planned: PreparedHome
    issued: PreparedHome


def make_templates(prepared: PreparedHome, directory: Path) -> Templates:
    """Make both from a prepared home."""
    planned = copy_of(prepared, directory / "planned")
    with_more_cards(planned)
    issued = copy_of(planned, directory / "issued")
    issued.sealmint("run", "start", 1)
    return Templates(planned, issued)


def with_more_cards(home: PreparedHome) -> None:
    """Put the extract and the cards of a second run beside those of the first."""
    more_extract(home).write_text("".join(sample_rows(100, 100 + MORE_COMPANIES)))
    home.sealmint(
        *("card-centre", "simulate", "--register", more_extract(home)),
        *("--out", more_cards(home), "--synthetic"),
    )


def more_extract(home: PreparedHome) -> Path:
    """The register extract of the second run."""
    return home.directory / "more.jsonl"


def more_cards(home: PreparedHome) -> Path:
    """The card file of the second run."""
    return home.directory / "more-cards"
