"""systemd's unit files, read strictly, with the drop-in that all services share."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
UNITS = DEPLOY / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMERS = sorted(UNITS.glob("*.timer"))
SANDBOX = UNITS / "sealmint-.service.d" / "sandbox.conf"
INSTALLED = "/opt/sealmint/bin/sealmint"

_SECTION = re.compile(r"\[([A-Z][a-z]+)\]")
_SETTING = re.compile(r"([A-Z][A-Za-z]+)=(.*)")


@dataclass(frozen=True)
class Unit:
    """A unit's settings in their order; a name may come several times."""

    name: str
    settings: tuple[tuple[str, str, str], ...]

    def all(self, name: str) -> list[str]:
        """The values of a setting of the service."""
        return [value for section, key, value in self.settings if (section, key) == ("Service", name)]

    def words(self, name: str) -> list[str]:
        """The words of a setting that is a list."""
        return [word for value in self.all(name) for word in value.split()]

    def one(self, name: str) -> str:
        """The value of a setting that stands there once."""
        (value,) = self.all(name)
        return value

    @property
    def environment(self) -> dict[str, str]:
        """What the unit says of its environment, files aside."""
        pairs = (word.partition("=") for value in self.all("Environment") for word in shlex.split(value))
        return {name: value for name, _, value in pairs}

    def command(self, setting: str = "ExecStart") -> list[str]:
        """The command with its variables put in, as systemd does for `${NAME}` (systemd.service(5))."""
        words = shlex.split(self.one(setting))
        return [re.sub(r"\$\{(\w+)\}", lambda found: self.environment[found[1]], word) for word in words]


def read_unit(path: Path) -> Unit:
    """Read a unit; a service with the drop-in of its prefix after it, as systemd does."""
    settings = _settings(path)
    if path.suffix == ".service":
        settings += _settings(SANDBOX)
    return Unit(path.name, tuple(settings))


def _settings(path: Path) -> list[tuple[str, str, str]]:
    section, found = "", []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if heading := _SECTION.fullmatch(line):
            section = heading[1]
            continue
        setting = _SETTING.fullmatch(line)
        assert setting and section, f"{path}:{number}: {line}"
        found.append((section, setting[1], setting[2]))
    return found


def installed_copy(directory: Path, program: Path) -> Path:
    """Copy the units with the program's place changed to one that is there."""
    copy = directory / "systemd"
    shutil.copytree(UNITS, copy)
    for path in (*copy.glob("*.service"), *copy.glob("*.timer")):
        path.write_text(path.read_text().replace(INSTALLED, str(program)))
    return copy
