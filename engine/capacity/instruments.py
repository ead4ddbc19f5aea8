"""Whether the packages are there with which sweeps are fitted and drawn."""

from __future__ import annotations

from importlib.util import find_spec

from engine.errors import ConfigurationInvalid

NEEDED = ("numpy", "matplotlib")


def require_instruments() -> None:
    """Make sure that numpy and matplotlib are there, before anything is measured that they are needed for.

    Raises:
        ConfigurationInvalid: they are not; says how to install them.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationInvalid(
            f"a sweep needs {' and '.join(missing)}, which are not installed",
            rule="pip install 'sealmint[instruments]'",
        )
