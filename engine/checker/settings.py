"""What the checker needs of sealmint.toml, read by its own hand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.algorithms import SignatureAlgorithm


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a home keeps what is checked.

    Attributes:
        home: the directory.
        record: the URL of the record, as a role that may only read where there is one.
        crl: the directory of the CRL files.
        algorithm: with which the CA and its OCSP responders sign.
    """

    home: Path
    record: str
    crl: Path
    algorithm: SignatureAlgorithm


def read_settings(home: Path) -> Settings:
    """Read the settings of a home.

    Raises:
        OSError: there is no configuration.
        ValueError: it is no TOML.
    """
    place = str(home.absolute())
    text = (home / "sealmint.toml").read_text("utf-8")
    sections = tomllib.loads(text)
    store, crl, x509 = (_section(sections, name) for name in ("store", "crl", "x509"))
    url = store.get("read_url") or store.get("url") or "sqlite:///{home}/store.sqlite"
    directory = Path(str(crl.get("directory", "{home}/crl")).replace("{home}", place))
    algorithm = SignatureAlgorithm(x509.get("signature_algorithm", SignatureAlgorithm.RSA_PKCS1_SHA256.value))
    return Settings(home, str(url).replace("{home}", place), directory, algorithm)


def _section(sections: dict[str, Any], name: str) -> dict[str, Any]:
    section = sections.get(name, {})
    if not isinstance(section, dict):
        raise ValueError(f"[{name}] is no section")  # of the file's content, not of a caller's type
    return section
