"""Issuing the certificates of the authority itself: root, CA, and the CA's servants.

They take the same way as all others: TBS built, checked, stored with its audit record, then signed; a crash between is
healed by signing the stored TBS again.
"""

from __future__ import annotations

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
from engine.authority.configured_profiles import configured_profiles
from engine.authority.signing import AUTHORITY_ALGORITHM, Sign, open_signer
from engine.clock import Clock
from engine.config import Configuration
from engine.home import Home
from engine.pkcs11.keys import KeyReference, public_key_info
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.database import Store
from engine.store.schema import authority_certificate
from engine.x509.authority_certificates import authority_tbs
from engine.x509.certificate import assemble, verifier
from engine.x509.issuer import Issuer, key_identifier
from engine.x509.names import authority_subject_der
from engine.x509.profiles import ProfileSet
from engine.x509.serial_numbers import SerialNumbers
from engine.x509.validity import validity_for

LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""No issuer stands above a root, so only its profile limits it (RFC 5280 section 4.1.2.5: the last time there is)."""

ROOT = "root"
_SERVANTS = ("ocsp", "audit", "operations")

Announce = Callable[[str], None]
"""Called with a line about each step that was done."""


@dataclass(frozen=True, slots=True)
class AuthorityIssuance:
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
        """Issue what is missing, and write the chain.

        Raises:
            TokenError: the token refused.
            StoreError: the store did.
        """
        keys = self.configuration.keys
        labels = {ROOT: keys.development_root, "ca": keys.ca} | {
            role: getattr(keys, role) for role in _SERVANTS
        }
        profiles = configured_profiles(self.configuration)
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

    async def issue_ocsp_responder(self, role: str) -> None:
        """Issue a further OCSP responder certificate; its key, labelled as the role, is in the token.

        Args:
            role: a new one, such as `ocsp-2`.

        Raises:
            TokenError: the token refused.
            StoreError: the store did.

        Killed at any point, it is finished by calling it again.
        """
        profiles = configured_profiles(self.configuration)
        algorithm = self.configuration.x509.signature_algorithm
        ca = KeyReference(self.configuration.keys.ca)
        async with open_signer(self.home, self.configuration, self.token, self.pin, [ca]) as signer:
            await self._one(role, role, "ca", algorithm, profiles, signer(ca, algorithm), profile_role="ocsp")

    async def _one(
        self,
        role: str,
        label: str,
        issuer_role: str,
        algorithm: SignatureAlgorithm,
        profiles: ProfileSet,
        sign: Sign,
        profile_role: str | None = None,
    ) -> None:
        path = self.home.certificates / f"{role}.der"
        if path.exists():
            return
        stored = await trio.to_thread.run_sync(self._stored, role)
        if stored is None:
            public_key = public_key_info(self.token, self.pin, KeyReference(label))
            tbs, serial = self._tbs(profile_role or role, issuer_role, algorithm, profiles, public_key)
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
