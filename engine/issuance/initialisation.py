"""Making a home: token, keys, store, the development root, the CA under it, and the CA's servants.

Every step looks first whether it was done, so an interrupted initialisation is finished by calling it again. The
authority's certificates take the same way as all others: TBS built, checked, stored with its audit record, then
signed; a crash between is healed by signing the stored TBS again.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.audit.store_migration import migrate_as_owner
from engine.authority.authority_issuance import Announce, AuthorityIssuance
from engine.authority.signing import open_token, read_pin
from engine.clock import Clock
from engine.config import CONFIGURATION_NAME, Configuration, StoreSection, load_configuration
from engine.errors import ConfigurationInvalid, KeyMismatch, SignerFailed
from engine.home import Home, write_private
from engine.issuance.development_card_centre.card_centre import open_card_centre
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair, public_key_info
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.pkcs11.token_initialisation import initialise_token, set_missing_pin
from engine.store.database import Store, open_store

SOFTHSM_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),  # Fedora
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),  # from source
)
TOKEN_LABEL = "sealmint"  # noqa: S105 - the name of the token
PIN_DIGITS = 12
"""Length of the PIN that is made for a development token. SoftHSM takes 4 to 255."""


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """The token a home is made with; without a module a SoftHSM token of its own is made in the home."""

    module: Path | None = None
    label: str = TOKEN_LABEL
    pin_file: Path | None = None


async def initialise(
    home: Home,
    clock: Clock,
    choice: TokenChoice,
    *,
    record: StoreSection | None = None,
    actor: str,
    announce: Announce,
) -> None:
    """Make a home, or finish one that was begun.

    Args:
        home: where.
        clock: tells the time of certificates and records.
        choice: the token.
        record: where the record is, for the configuration of a new home; None: a file of the home.
        actor: who does it.
        announce: told of each step.

    Raises:
        HomeUnusable: the directory is not writable, or in use.
        ConfigurationInvalid: there is no PKCS#11 module, or the existing configuration is wrong.
        TokenError: the token refused.

    Cancelled or killed at any point, it is finished by calling it again.
    """
    home.create()
    with home.lock("home", "initialising"):
        if not home.configuration.exists():
            _write_configuration(home, choice, record)
            announce(f"configuration written: {home.path / CONFIGURATION_NAME}")
        configuration = load_configuration(home.path)
        await trio.to_thread.run_sync(_migrate, configuration, clock, actor, announce)
        store = open_store(configuration.store.url, must_exist=True)
        token, pin = await trio.to_thread.run_sync(_token, home, configuration, store, clock, actor, announce)
        await trio.to_thread.run_sync(_keys, configuration, token, pin, store, clock, actor, announce)
        await AuthorityIssuance(home, configuration, store, clock, token, pin, actor, announce).issue()
        open_card_centre(home.card_centre, clock)
        store.close()


def _write_configuration(home: Home, choice: TokenChoice, record: StoreSection | None) -> None:
    lines = ["# sealmint; every setting and its default: docs/operation.md", ""]
    if record is not None:
        told = record.model_dump(exclude_none=True, exclude_unset=True)
        # A TOML basic string is written like one of JSON (toml.io, "String").
        lines += ["[store]", *(f"{name} = {json.dumps(value)}" for name, value in told.items()), ""]
    lines.append("[token]")
    if choice.module is None:
        lines += [f'module = "{find_softhsm()}"', f'label = "{choice.label}"']
        lines += ["", "[token.environment]", 'SOFTHSM2_CONF = "{home}/token/softhsm2.conf"']
        _prepare_softhsm(home)
    else:
        lines += [f'module = "{choice.module}"', f'label = "{choice.label}"']
        if choice.pin_file is not None:
            lines.append(f'pin_file = "{choice.pin_file.absolute()}"')
    write_private(home.configuration, ("\n".join(lines) + "\n").encode())


def find_softhsm() -> Path:
    """Return the SoftHSM module of this machine.

    Raises:
        ConfigurationInvalid: it is not installed.
    """
    named = os.environ.get("SEALMINT_PKCS11_MODULE")
    for path in (Path(named),) if named else SOFTHSM_MODULES:
        if path.is_file():
            return path
    raise ConfigurationInvalid(
        "no PKCS#11 module: install SoftHSM (Debian: softhsm2), or name one with --module",
        value=named,
        rule=", ".join(map(str, SOFTHSM_MODULES)),
    )


def _prepare_softhsm(home: Home) -> None:
    tokens = home.token / "tokens"
    for directory in (
        tokens.parent,
        tokens,
    ):  # with `parents`, the umask alone would decide for the upper one
        directory.mkdir(exist_ok=True, mode=0o700)
    write_private(
        home.token / "softhsm2.conf",
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n".encode(),
    )
    if not home.pin_file.exists():
        for path in (home.pin_file, home.security_officer_pin_file):
            write_private(path, "".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)).encode())


def _migrate(configuration: Configuration, clock: Clock, actor: str, announce: Announce) -> None:
    before, after = migrate_as_owner(configuration.store, clock, actor)
    if before != after:
        announce(f"store at revision {after}")


def _token(
    home: Home, configuration: Configuration, store: Store, clock: Clock, actor: str, announce: Announce
) -> tuple[Token, Pin]:
    pin = read_pin(configuration)
    if not home.security_officer_pin_file.exists():
        return open_token(home, configuration), pin  # a token that others made
    security_officer_pin = Pin.from_file(home.security_officer_pin_file)
    try:
        token = open_token(home, configuration)
    except SignerFailed:  # it is not there yet
        module = load_module(configuration.token.module, configuration.token.environment)
        label = configuration.token.label
        initialise_token(module, label=label, security_officer_pin=security_officer_pin, pin=pin)
        with store.write() as connection:
            append_record(connection, clock, Event.TOKEN_INITIALISED, actor=actor, body={"label": label})
        announce(f"token {label} made in {home.token}")
        token = open_token(home, configuration)
    else:
        set_missing_pin(token, security_officer_pin=security_officer_pin, pin=pin)
    return token, pin


def _keys(
    configuration: Configuration,
    token: Token,
    pin: Pin,
    store: Store,
    clock: Clock,
    actor: str,
    announce: Announce,
) -> None:
    keys = configuration.keys
    for label in (keys.development_root, keys.ca, keys.ocsp, keys.audit, keys.operations):
        reference = KeyReference(label)
        try:
            public_key_info(token, pin, reference)
        except KeyMismatch:
            public_key = generate_key_pair(token, pin, reference, KeyType.RSA_2048)
            with store.write() as connection:
                append_record(
                    connection,
                    clock,
                    Event.KEY_GENERATED,
                    actor=actor,
                    body={"label": label, "type": "rsa-2048", "public_key": public_key.hex()},
                )
            announce(f"key {label} made in the token")
