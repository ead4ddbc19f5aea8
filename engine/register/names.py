"""Registered names and addresses as text that may go into a certificate and onto an envelope.

A registered name is law: nothing in it is changed but what the register's own transport added (character
references for characters outside its old code page, padding spaces). In particular it is not normalised: NFC
would replace the CJK compatibility ideographs U+F900-U+FAFF by other characters (Unicode Standard Annex 15,
singleton decompositions). Private-use characters stay, too: the register uses them for characters of its own.
"""

from __future__ import annotations

import re
import unicodedata

from engine.errors import InputRejected

BLANKS = " \u3000\u00a0"
"""The spaces that pad a value: space, full-width space, no-break space. Tabs and line ends are control characters."""

_REFERENCE = re.compile(r"&(?:#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
"""The five names XML 1.0 section 4.6 predefines; other names are not decoded, a business name may look like one."""

_SEVERAL_BLANKS = re.compile(f"([{BLANKS}])[{BLANKS}]+")
_REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "an unpaired surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_REPLACEMENT = (
    "\ufffd"  # what a decoder leaves where it lost a character: the registered one is not known any more
)


def clean_name(text: str) -> str:
    """Undo what transport added to a registered name, and refuse what no name may contain.

    Decodes character references once; drops spaces of any width at both ends; of several in a row keeps the
    first. Everything else is left as registered.

    Args:
        text: the value as read.

    Returns:
        The name; empty when the value is blank.

    Raises:
        InputRejected: a control or formatting character, an unpaired surrogate, a noncharacter, U+FFFD, or a
            reference to no character.
    """
    if text.isprintable() and "&" not in text and " " not in text and _REPLACEMENT not in text:
        return text  # nearly every name; isprintable is false for every category refused below
    text = _REFERENCE.sub(_character, text).strip(BLANKS)
    text = _SEVERAL_BLANKS.sub(r"\1", text)
    for position, character in enumerate(text, start=1):
        fault = _fault(character)
        if fault is not None:
            raise InputRejected(
                f"{fault} at character {position}",
                value=f"U+{ord(character):04X}",
                rule="a name is made of visible characters and single spaces",
            )
    return text


def _character(reference: re.Match[str]) -> str:
    decimal, hexadecimal, name = reference.groups()
    if name is not None:
        return _NAMED[name]
    code_point = int(decimal) if decimal is not None else int(hexadecimal, 16)
    if code_point > 0x10FFFF:
        raise InputRejected(
            "a reference to no character", value=reference.group(), rule="code points end at 10FFFF"
        )
    return chr(code_point)


def _fault(character: str) -> str | None:
    category = unicodedata.category(character)
    if category in _REFUSED_CATEGORIES:
        return _REFUSED_CATEGORIES[category]
    code_point = ord(character)
    if 0xFDD0 <= code_point <= 0xFDEF or code_point & 0xFFFE == 0xFFFE:
        return "a noncharacter"
    return "a replacement character" if character == _REPLACEMENT else None
