"""A SoftHSM token in a directory of its own, for tests that start programs or load the module themselves."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from engine.pkcs11.pin import Pin

SOFTHSM = next(
    path
    for path in (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/local/lib/softhsm/libsofthsm2.so"))
    if path.exists()
)


@dataclass(frozen=True)
class SoftHsmToken:
    """A token with its PINs, and what a process needs to reach it.

    `module_path` is SoftHSM itself, or the pretend HSM that wraps it; `environment` fits it.
    """

    directory: Path
    configuration_path: Path
    module_path: Path
    label: str
    pin: Pin
    so_pin: Pin
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def process_environment(self) -> dict[str, str]:
        """The whole environment for a process that uses the token."""
        return os.environ | self.environment


def make_token(directory: Path, label: str) -> SoftHsmToken:
    """Make a SoftHSM configuration and one initialised token, in another process: nothing is loaded into this one.

    PINs go by argv, which only a test may do.
    """
    tokens = directory / "tokens"
    tokens.mkdir(parents=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    environment = {"SOFTHSM2_CONF": str(configuration)}
    pin, so_pin = "user-1234", "officer-1234"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", so_pin]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)
    return SoftHsmToken(directory, configuration, SOFTHSM, label, Pin(pin), Pin(so_pin), environment)
