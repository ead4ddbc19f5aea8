"""Making a home: token, keys, store, the development root, the CA under it, and the CA's servants.

Every step looks first whether it was done, so an interrupted initialisation is finished by calling it again. The
authority's certificates take the same way as all others: TBS built, checked, stored with its audit record, then
signed; a crash between is healed by signing the stored TBS again.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import insert, select, update

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.audit.store_migration import migrate_and_record
from engine.clock import Clock
from engine.config import CONFIGURATION_NAME, Configuration, load_configuration
from engine.errors import ConfigurationInvalid, KeyMismatch, SignerFailed
from engine.home import Home, write_private
from engine.issuance.development_card_centre.card_centre import open_card_centre
from engine.issuance.signing import AUTHORITY_ALGORITHM, Sign, open_signer, open_token, read_pin
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair, public_key_info
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.pkcs11.token_initialisation import initialise_token, set_missing_pin
from engine.store.database import Store, open_store
from engine.store.schema import authority_certificate
from engine.x509.authority_certificates import authority_tbs
from engine.x509.certificate import assemble, verifier
from engine.x509.issuer import Issuer, key_identifier
from engine.x509.names import authority_subject_der
from engine.x509.profiles import ProfileSet, load_profiles
from engine.x509.serial_numbers import SerialNumbers
from engine.x509.validity import validity_for

SOFTHSM_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),  # Debian
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),  # Fedora
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),  # from source
)
TOKEN_LABEL = "sealmint"  # noqa: S105 - the name of the token
PIN_DIGITS = 12
"""Length of the PIN that is made for a development token. SoftHSM takes 4 to 255."""

LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No issuer stands above a root, so only its profile limits it (RFC 5280 section 4.1.2.5: the last time there is)."""

ROOT = "root"
_SERVANTS = ("ocsp", "audit", "operations")

Announce = Callable[[str], None]
"""Called with a line about each step that was done."""


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """The token a home is made with; without a module a SoftHSM token of its own is made in the home."""

    module: Path | None = None
    label: str = TOKEN_LABEL
    pin_file: Path | None = None


async def initialise(
    home: Home, clock: Clock, choice: TokenChoice, *, actor: str, announce: Announce
) -> None:
    """Make a home, or finish one that was begun.

    Args:
        home: where.
        clock: tells the time of certificates and records.
        choice: the token.
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
            _write_configuration(home, choice)
            announce(f"configuration written: {home.path / CONFIGURATION_NAME}")
        configuration = load_configuration(home.path)
        store = open_store(configuration.store.url)
        await trio.to_thread.run_sync(_migrate, store, clock, actor, announce)
        token, pin = await trio.to_thread.run_sync(_token, home, configuration, store, clock, actor, announce)
        await trio.to_thread.run_sync(_keys, configuration, token, pin, store, clock, actor, announce)
        await _Certificates(home, configuration, store, clock, token, pin, actor, announce).issue()
        open_card_centre(home.card_centre, clock)
        store.close()


def _write_configuration(home: Home, choice: TokenChoice) -> None:
    lines = ["# sealmint; every setting and its default: docs/operation.md", "", "[token]"]
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
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(
        home.token / "softhsm2.conf",
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n".encode(),
    )
    if not home.pin_file.exists():
        for path in (home.pin_file, home.security_officer_pin_file):
            write_private(path, "".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)).encode())


def _migrate(store: Store, clock: Clock, actor: str, announce: Announce) -> None:
    before, after = migrate_and_record(store, clock, actor)
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


@dataclass(frozen=True, slots=True)
class _Certificates:
    """Issues the certificates of the authority itself, each once."""

    home: Home
    configuration: Configuration
    store: Store
    clock: Clock
    token: Token
    pin: Pin
    actor: str
    announce: Announce

    async def issue(self) -> None:
        keys = self.configuration.keys
        labels = {ROOT: keys.development_root, "ca": keys.ca} | {
            role: getattr(keys, role) for role in _SERVANTS
        }
        path = self.configuration.x509.profiles
        profiles = load_profiles(Path(path) if path else None)
        algorithm = self.configuration.x509.signature_algorithm
        references = [KeyReference(keys.development_root), KeyReference(keys.ca)]
        async with open_signer(self.home, self.configuration, self.token, self.pin, references) as signer:
            root_sign = signer(references[0], AUTHORITY_ALGORITHM)
            ca_sign = signer(references[1], algorithm)
            await self._one(ROOT, labels[ROOT], ROOT, AUTHORITY_ALGORITHM, profiles, root_sign)
            await self._one("ca", labels["ca"], ROOT, AUTHORITY_ALGORITHM, profiles, root_sign)
            for role in _SERVANTS:
                await self._one(role, labels[role], "ca", algorithm, profiles, ca_sign)
        self._write_chain()

    async def _one(
        self,
        role: str,
        label: str,
        issuer_role: str,
        algorithm: SignatureAlgorithm,
        profiles: ProfileSet,
        sign: Sign,
    ) -> None:
        path = self.home.certificates / f"{role}.der"
        if path.exists():
            return
        stored = await trio.to_thread.run_sync(self._stored, role)
        if stored is None:
            public_key = public_key_info(self.token, self.pin, KeyReference(label))
            tbs, serial = self._tbs(role, issuer_role, algorithm, profiles, public_key)
            identifier = key_identifier(public_key)
            await trio.to_thread.run_sync(self._reserve, role, label, identifier, serial, tbs)
        else:
            tbs, signature = stored
            if signature is not None:
                self._write(path, assemble(tbs, algorithm, signature))
                return
        signature = await sign(tbs)
        issuer_key = public_key_info(self.token, self.pin, KeyReference(self._label_of(issuer_role)))
        verifier(issuer_key, algorithm)(tbs, signature)
        await trio.to_thread.run_sync(self._complete, role, tbs, signature)
        self._write(path, assemble(tbs, algorithm, signature))
        self.announce(f"certificate of {role} issued")

    def _label_of(self, role: str) -> str:
        keys = self.configuration.keys
        return keys.development_root if role == ROOT else keys.ca

    def _tbs(
        self,
        role: str,
        issuer_role: str,
        algorithm: SignatureAlgorithm,
        profiles: ProfileSet,
        public_key: bytes,
    ) -> tuple[bytes, bytes]:
        profile = profiles.authority(role)  # type: ignore[arg-type]  # the roles are the profiles' names
        now = self.clock.now()
        if role == issuer_role:
            longest = validity_for(profile, now, LAST_MOMENT)
            issuer = Issuer.self_signed(
                authority_subject_der(profile), public_key, longest.not_after, algorithm
            )
        else:
            issuer = Issuer.from_certificate(
                (self.home.certificates / f"{issuer_role}.der").read_bytes(), algorithm
            )
        validity = validity_for(profile, now, issuer.not_after)
        (serial,) = SerialNumbers(self.clock).take(1)
        return authority_tbs(profile, issuer, validity, serial, public_key), serial

    def _stored(self, role: str) -> tuple[bytes, bytes | None] | None:
        with self.store.read() as connection:
            row = connection.execute(
                select(authority_certificate.c.tbs, authority_certificate.c.signature).where(
                    authority_certificate.c.role == role
                )
            ).one_or_none()
        return None if row is None else (row.tbs, row.signature)

    def _reserve(self, role: str, label: str, key_identifier: bytes, serial: bytes, tbs: bytes) -> None:
        with self.store.write() as connection:
            connection.execute(
                insert(authority_certificate).values(
                    role=role,
                    key_label=label,
                    key_identifier=key_identifier,
                    serial=serial,
                    tbs=tbs,
                    reserved_at=self.clock.now(),
                )
            )
            append_record(
                connection,
                self.clock,
                Event.AUTHORITY_CERTIFICATE_RESERVED,
                actor=self.actor,
                body={"role": role, "serial": serial.hex()},
            )

    def _complete(self, role: str, tbs: bytes, signature: bytes) -> None:
        with self.store.write() as connection:
            connection.execute(
                update(authority_certificate)
                .where(authority_certificate.c.role == role, authority_certificate.c.tbs == tbs)
                .values(signature=signature)
            )
            append_record(
                connection,
                self.clock,
                Event.AUTHORITY_CERTIFICATE_ISSUED,
                actor=self.actor,
                body={"role": role, "signature": signature.hex()},
            )

    def _write(self, path: Path, certificate: bytes) -> None:
        partial = path.with_suffix(".partial")
        partial.write_bytes(certificate)
        partial.rename(path)

    def _write_chain(self) -> None:
        """Write ca and root as PEM, in the order in which a relying party walks them."""
        pems = [
            x509.load_der_x509_certificate(
                (self.home.certificates / f"{role}.der").read_bytes()
            ).public_bytes(Encoding.PEM)
            for role in ("ca", ROOT)
        ]
        (self.home.certificates / "chain.pem").write_bytes(b"".join(pems))
        (self.home.certificates / "root.pem").write_bytes(pems[1])
