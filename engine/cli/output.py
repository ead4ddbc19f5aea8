"""How commands speak: tables and sentences for people, one JSON document for programs.

Exit codes: 0 done; 1 a defect or an error of no other kind; 2 wrong usage; 3 input rejected; 4 configuration or policy
wrong; 5 home unusable; 6 overloaded; 7 token; 8 a signature or structure is not what it must be; 9 store; 10 audit log
damaged; 11 clock wrong; 12 the run's state does not allow it; 13 the certificate's status does not; 14 the PIN is
wrong; 15 the feed shows what the CA did not sign, or something older; 16 the feed cannot be read; 17 the checker found
something that must never be; 18 a backup is damaged or incomplete; 20 done, but not
everything: failures or damage in the report; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.errors import SealmintError

EXIT_INCOMPLETE = 20
EXIT_INTERRUPTED = 130

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="SEALMINT_HOME",
        help="The home directory of the CA.",
        file_okay=False,
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
RunArgument = Annotated[
    int, typer.Argument(metavar="RUN", help="The run's number, from: sealmint run status")
]
DEFAULT_HOME = Path("sealmint-home")

FILE_WIDTH = 160
"""Columns of text that goes to a file or a pipe, where no terminal tells its width. A guess."""

# Without markup and emoji codes: names, paths and rules have brackets and colons of their own.
people = Console(
    markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH
)
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)


def answer(document: Mapping[str, object], as_json: bool, *, text: str | None = None) -> None:
    """Print the result of a command.

    Args:
        document: the result.
        as_json: print the document itself.
        text: what to print for a person instead of the document as a table of names and values.
    """
    if as_json:
        write_json(document)
    elif text is not None:
        people.print(text)
    else:
        people.print(
            table(
                None, ("", ""), [(name.replace("_", " "), _plain(value)) for name, value in document.items()]
            )
        )


def write_json(document: object) -> None:
    """Print a JSON document on standard output."""
    sys.stdout.buffer.write(
        orjson.dumps(
            document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
        )
    )
    sys.stdout.buffer.flush()


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Lay out rows; Chinese names take two places a character and stay aligned."""
    made = Table(title=title, title_justify="left", show_header=any(columns), box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(_plain(value) for value in row))
    return made


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(number)}" for name, number in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "\n".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def explain(error: SealmintError, as_json: bool) -> None:
    """Print an error on standard error: what, where, which value, which rule."""
    if as_json:
        write_json_error(type(error).__name__, error.message, error.place, error.value, error.rule)
    else:
        errors.print(Text.assemble(("error:", "bold red"), " ", str(error)), soft_wrap=True)


def write_json_error(
    kind: str, message: str, place: str | None = None, value: object = None, rule: str | None = None
) -> None:
    """Print an error as a JSON document on standard error."""
    # An argument that is not UTF-8 has lone surrogates (PEP 383), which JSON cannot carry.
    text = None if value is None else str(value).encode("utf-8", "backslashreplace").decode()
    document = {"error": kind, "message": message, "place": place, "value": text, "rule": rule}
    sys.stderr.buffer.write(orjson.dumps({"error": document}, option=orjson.OPT_APPEND_NEWLINE))
    sys.stderr.buffer.flush()
