"""The baseline: what the token does for a C program, built and run here."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.config import Configuration

SOURCE = Path(__file__).with_name("raw_signer.c")
BUILD = Path(__file__).parent.parent / "build"

SHAPES = ((1, 2), (2, 1))
"""Processes × threads: the better of the two is the token's raw rate."""


PATIENCE_SECONDS = 3.0
"""How much longer than asked for a measurement may take. Beginning takes 0.05 s."""


@dataclass(frozen=True)
class RawSigner:
    """A built raw signer and the token it is run on."""

    program: Path
    module: Path
    environment: dict[str, str]
    pin_file: Path
    token_label: str
    key_label: str

    def per_second(self, shape: tuple[int, int], seconds: float) -> float:
        """Return the signatures a second of processes × threads, measured for so many seconds.

        Raises:
            subprocess.TimeoutExpired: the token does not answer: a stopped process holds one of its locks.
        """
        processes, threads = shape
        arguments = [
            self.module,
            self.pin_file,
            self.token_label,
            self.key_label,
            processes,
            threads,
            seconds,
        ]
        finished = subprocess.run(
            [self.program, *map(str, arguments)],
            env={**os.environ, **self.environment},
            capture_output=True,
            check=True,
            text=True,
            timeout=seconds + PATIENCE_SECONDS,
        )
        return float(finished.stdout)


def raw_signer_of(configuration: Configuration, key_label: str) -> RawSigner:
    """Build the C program for the home's own token and one of its keys."""
    token = configuration.token
    return RawSigner(
        program=build_raw_signer(),
        module=token.module,
        environment=token.environment,
        pin_file=Path(str(token.pin_file)),
        token_label=token.label,
        key_label=key_label,
    )


def build_raw_signer() -> Path:
    """Compile the raw signer with gcc, if its source is newer, and return the program."""
    program = BUILD / "raw_signer"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/p11-kit-1"]
        subprocess.run(["gcc", *flags, "-o", program, SOURCE, "-ldl", "-lpthread"], check=True)
    return program
