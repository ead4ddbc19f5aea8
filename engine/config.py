"""The configuration of a home: `sealmint.toml`, checked once at start; after that nobody sees a dictionary."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid, HomeUnusable

CONFIGURATION_NAME = "sealmint.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSection(_Section):
    """Where the record is kept; `{home}` stands for the home directory."""

    url: str = "sqlite:///{home}/store.sqlite"


class TokenSection(_Section):
    """The PKCS#11 token and how it is treated."""

    module: Path
    label: str
    serial: str | None = None
    pin_file: Annotated[str, Field(min_length=1)] = "{home}/secrets/token-pin"
    """Where the PIN is read from; the word `prompt` stands for asking at the terminal."""
    environment: dict[str, str] = {}
    """What the module wants to find in its environment, such as SOFTHSM2_CONF."""
    call_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a C_Sign counts as stuck. A guess: a hundred times what a slow network HSM takes."""
    max_stuck: Annotated[int, Field(ge=1)] = 3
    """Stuck sessions after which the worker process is replaced. A guess."""


class KeysSection(_Section):
    """The labels of the keys in the token. The CA key signs certificates and CRLs, nothing else (CPS 6.1.9)."""

    ca: str = "ca"
    ocsp: str = "ocsp"
    audit: str = "audit"
    operations: str = "operations"
    development_root: str = "development-root"


class X509Section(_Section):
    """Profiles and signature algorithm."""

    profiles: str | None = None
    """A profile file; without it the shipped CPS set is used."""
    signature_algorithm: SignatureAlgorithm = SignatureAlgorithm.RSA_PKCS1_SHA256


class CardCentreSection(_Section):
    """Whose signature a card file must bear."""

    trusted: list[str] = ["{home}/card-centre/card-centre.der"]


class IssuanceSection(_Section):
    """How a run is worked off."""

    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes; without it one for each CPU."""
    sessions: Annotated[int, Field(ge=1, le=256)] = 1
    """PKCS#11 sessions of each worker (bench.issuance: with a CPU-bound token one a process is best; with a
    network HSM more: docs/pool-sizing.md)."""
    lease_seconds: Annotated[int, Field(ge=10)] = 120
    """How long a unit is held without a heartbeat. A guess: far longer than a unit takes; what a dead process of
    this host held is freed at once and waits for nothing."""


class Configuration(_Section):
    """Everything in `sealmint.toml`."""

    store: StoreSection = StoreSection()
    token: TokenSection
    keys: KeysSection = KeysSection()
    x509: X509Section = X509Section()
    card_centre: CardCentreSection = CardCentreSection()
    issuance: IssuanceSection = IssuanceSection()


def load_configuration(home: Path) -> Configuration:
    """Read and check the configuration of a home, with `{home}` replaced by its path.

    Raises:
        HomeUnusable: there is no configuration: the directory is no home yet.
        ConfigurationInvalid: the file is not TOML, has an unknown key, or a value out of range.
    """
    path = home / CONFIGURATION_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HomeUnusable(
            "this directory is no sealmint home; make one with: sealmint init --home DIR", place=str(home)
        ) from error
    except OSError as error:
        raise HomeUnusable(
            "the configuration cannot be read", place=str(path), value=error.strerror
        ) from error
    try:
        configuration = Configuration.model_validate(tomllib.loads(text))
        return Configuration.model_validate(_expand(configuration.model_dump(), str(home.absolute())))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(
            "the configuration is not TOML", place=str(path), rule=str(error)
        ) from error
    except ValidationError as error:
        raise invalid_from(error, path) from error


def _expand(value: Any, home: str) -> Any:
    """Put the home's path where `{home}` stands, in what the file gives and in the defaults alike."""
    if isinstance(value, dict):
        return {name: _expand(part, home) for name, part in value.items()}
    if isinstance(value, list):
        return [_expand(part, home) for part in value]
    if isinstance(value, str):
        return value.replace("{home}", home)
    return Path(_expand(str(value), home)) if isinstance(value, Path) else value


def invalid_from(error: ValidationError, path: Path) -> ConfigurationInvalid:
    """Turn pydantic's error into ours: the first fault with its key, value and rule."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    more = error.error_count() - 1
    return ConfigurationInvalid(
        "a setting is wrong" + (f" (and {more} more)" if more else ""),
        place=f"{path}, key {key or '(top level)'}",
        value=fault.get("input"),
        rule=fault["msg"],
    )
