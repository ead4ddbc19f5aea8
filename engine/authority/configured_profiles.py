"""The certificate profiles that a home is configured with."""

from __future__ import annotations

from pathlib import Path

from engine.config import HostConfiguration
from engine.x509.profiles import ProfileSet, load_profiles


def configured_profiles(configuration: HostConfiguration) -> ProfileSet:
    """Load the profile file that `[x509] profiles` names; the shipped set of the CPS where it names none.

    Raises:
        ConfigurationInvalid: the file cannot be read, or is wrong.
    """
    path = configuration.x509.profiles
    return load_profiles(Path(path) if path else None)
