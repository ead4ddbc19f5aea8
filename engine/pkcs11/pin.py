"""A PIN: where it comes from, and that it never shows (CPS 6.4.1)."""

from __future__ import annotations

import getpass
import os
import stat
from typing import TYPE_CHECKING

from engine.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from pathlib import Path


class Pin:
    """A PIN that shows itself only to whoever asks for its bytes; never by repr, str, format or pickle.

    Args:
        text: the PIN itself.

    Raises:
        ConfigurationInvalid: it is empty.
    """

    __slots__ = ("_octets",)

    def __init__(self, text: str) -> None:
        if not text:
            raise ConfigurationInvalid("the PIN is empty")
        self._octets = text.encode()

    @classmethod
    def from_file(cls, path: Path) -> Pin:
        """Read the PIN from the first line of a file that only its owner may read.

        Raises:
            ConfigurationInvalid: the file cannot be read, is no text, is empty, or gives group or others any right.
        """
        try:
            with path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                line = file.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            # Only the kind of a decoding error: its text would show octets of the file.
            said = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigurationInvalid(f"the PIN file cannot be read: {said}", place=str(path)) from None
        if mode & 0o077:
            rule = "a PIN file gives group and others no right (mode 0600 or 0400)"
            raise ConfigurationInvalid(
                "the PIN file is open to others", place=str(path), value=f"{mode:04o}", rule=rule
            )
        if not line:
            raise ConfigurationInvalid("the PIN file has an empty first line", place=str(path))
        return cls(line)

    @classmethod
    def from_prompt(cls, prompt: str = "PIN: ") -> Pin:
        """Ask for the PIN on the terminal, without echo.

        Raises:
            ConfigurationInvalid: nothing was typed, or there is no terminal to ask on.
        """
        try:
            return cls(getpass.getpass(prompt))
        except EOFError:
            raise ConfigurationInvalid("there is nobody to ask for the PIN; give a PIN file") from None

    def reveal(self) -> bytes:
        """Return the PIN in UTF-8. Only for handing it to the token."""
        return self._octets

    def __repr__(self) -> str:
        return "Pin(********)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a PIN is not pickled: each process gets it from its file")
