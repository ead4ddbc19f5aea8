"""The files that publications carry: PDF and plain text. HTML and pictures that can carry scripts are none of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from engine.errors import InputRejected
from engine.publication.wording import line

SIZE_LIMIT = 32 * 1024 * 1024
"""Octets of a file. A guess: some thirty times the CPS as PDF; a public host keeps every file there is."""

NAME_LIMIT = 120
"""Characters of a file's name: 360 octets of UTF-8 at most, in a header of HTTP. A guess."""

_PDF_HEADER = b"%PDF-"
_PDF_END = b"%%EOF"
_PDF_END_WITHIN = 1024
"""Octets from the end in which a reader looks for the end marker (Adobe PDF Reference 1.7, appendix H, note 18)."""

_TEXT_CONTROLS = frozenset("\t\n\r\f")


class Content(NamedTuple):
    """A file that may be published; made by `read_content`."""

    octets: bytes
    media_type: str
    """application/pdf, or text/plain, which is UTF-8 then."""
    file_name: str


def read_content(path: Path) -> Content:
    """Read a file to publish.

    Raises:
        InputRejected: it cannot be read, is empty, too large, or is not what the end of its name says.
    """
    name = line(path.name, "file", NAME_LIMIT)
    if '"' in name or "\\" in name:
        raise InputRejected(
            "the name cannot be offered for download", place="file", value=name, rule='no " or \\'
        )
    octets = _octets(path)
    match path.suffix.lower():
        case ".pdf":
            _check_pdf(octets, name)
            return Content(octets, "application/pdf", name)
        case ".txt":
            _check_text(octets, name)
            return Content(octets, "text/plain", name)
    raise InputRejected(
        "files of this kind are not published",
        place="file",
        value=name,
        rule="PDF (.pdf) or plain text (.txt)",
    )


def _octets(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would keep us waiting, a device never end
            raise InputRejected("not a file", place=str(path))
        with path.open("rb") as file:
            octets = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputRejected("the file cannot be read", place=str(path), rule=error.strerror) from error
    if not octets:
        raise InputRejected("the file is empty", place=str(path))
    if len(octets) > SIZE_LIMIT:
        raise InputRejected("the file is too large", place=str(path), rule=f"at most {SIZE_LIMIT:,} octets")
    return octets


def _check_pdf(octets: bytes, name: str) -> None:
    if not octets.startswith(_PDF_HEADER) or _PDF_END not in octets[-_PDF_END_WITHIN:]:
        raise InputRejected(
            "this is no PDF",
            place="file",
            value=name,
            rule="a PDF begins with %PDF- and ends with %%EOF (ISO 32000-1, 7.5)",
        )


def _check_text(octets: bytes, name: str) -> None:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputRejected(
            f"not UTF-8 at octet {error.start}", place="file", value=name, rule="plain text is UTF-8"
        ) from error
    for position, character in enumerate(text):
        if (character < " " or "\x7f" <= character <= "\x9f") and character not in _TEXT_CONTROLS:
            raise InputRejected(
                f"a control character at position {position}",
                place="file",
                value=f"{name}: U+{ord(character):04X}",
                rule="plain text has no control characters but line ends, tabs and form feeds",
            )
