"""Judging prepared homes, and planting damage in copies of them."""

from __future__ import annotations

from pathlib import Path

from engine.checker.check import Report, check_home
from tests.cli.prepared_home import PreparedHome, copy_of

FIRST_CRLS = "first-crls"
"""Where the CRL files are kept as they were before any certificate was withdrawn."""


def judged(home: PreparedHome) -> Report:
    """What the checker says of a home and of the log of its HSM."""
    return check_home(home.path, signature_log=home.path / "hsm" / "log")


def damaged(template: PreparedHome, directory: Path, *statements: str) -> PreparedHome:
    """A copy of a home with damage in its record."""
    home = copy_of(template, directory)
    for statement in statements:
        home.change(statement)
    return home


def rules(home: PreparedHome) -> set[str]:
    """The rules by which something is found."""
    return {finding.rule for finding in judged(home).findings}
