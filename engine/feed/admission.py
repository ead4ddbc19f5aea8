"""Who may read the feed: admitting a public host on the CA host, and dismissing it.

    public host                        CA host                            public host
    feed request  -- request.pem -->   feed admit  -- admission.json -->  feed join

The two files are carried by the operator: what a public host believes from then on is in the second one.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.clock import SystemClock
from engine.config import Configuration
from engine.errors import ConfigurationInvalid, InputRejected
from engine.feed.self_signed import check_name, key_of, new_key, read_request, self_signed
from engine.home import Home, write_private

ADMITTED = "admitted"
"""Directory in `[feed].directory`: a certificate, NAME.pem, for each reader."""

SERVER_CERTIFICATE = "server.pem"
"""In `[feed].directory`, at both ends."""

SERVER_KEY = "feed-server-key.pem"
"""In the secrets of the CA's home."""

_SERVER_NAME = "feed"


class Admission(BaseModel):
    """What a public host is told: whom it is to believe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feed: Annotated[str, Field(pattern=r"^[0-9a-f]{1,64}$")]
    """Key identifier of the CA certificate: the name of the feed."""
    root: Base64Bytes
    """DER, as are the next two."""
    ca: Base64Bytes
    operations: Base64Bytes
    server: str
    """The certificate that the feed is served with, PEM."""
    profile: str | None
    """The certificate profiles, where they are not the shipped ones."""

    def document(self) -> bytes:
        """Return the file that the operator carries."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def admission_from(document: bytes) -> Admission:
    """Read an admission.

    Raises:
        InputRejected: it is none.
    """
    try:
        return Admission.model_validate_json(document)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InputRejected(
            "this is no admission to a feed",
            place=".".join(map(str, fault["loc"])) or "admission",
            rule=fault["msg"],
        ) from error


def ensure_server_certificate(home: Home, configuration: Configuration) -> Path:
    """Return the certificate that the feed is served with; it and its key are made where they are missing.

    Raises:
        HomeUnusable: another process is just making them, or the home is not writable.
    """
    directory = Path(configuration.feed.directory)
    path, key_path = directory / SERVER_CERTIFICATE, home.path / "secrets" / SERVER_KEY
    with home.lock("feed-server", "making the certificate of the feed's server"):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not key_path.exists():
            write_private(key_path, new_key())
            path.unlink(missing_ok=True)  # of a key that is gone
        if not path.exists():
            write_private(path, self_signed(_SERVER_NAME, key_path.read_bytes(), SystemClock()))
    return path


def admitted_readers(directory: Path) -> dict[str, Path]:
    """Return the certificates of those who may read the feed, by name.

    Args:
        directory: `[feed].directory` of the CA host.
    """
    return {path.stem: path for path in sorted((directory / ADMITTED).glob("*.pem"))}


def admit(context: AuthorityContext, request: bytes) -> tuple[str, Admission]:
    """Admit a public host, and return its name and what it is told. Admitting it again tells the same again.

    Args:
        context: the CA's home.
        request: the certificate that `feed request` made, PEM.

    Raises:
        InputRejected: the request is wrong, or the name was given to another key.
        AuditFailed: it could not be recorded, so nobody was admitted.
    """
    name, certificate = read_request(request)
    server = ensure_server_certificate(context.home, context.configuration)
    path = _path_of(context, name)
    before = _certificate_in(path) if path.exists() else None
    if before is not None and key_of(before) != key_of(certificate):
        raise InputRejected(
            "another key was admitted under this name; dismiss it first",
            place=str(path),
            value=name,
            rule="sealmint feed dismiss",
        )
    if before != certificate:
        # The record first: who is killed between admits again. The other way round somebody could read unrecorded.
        _record(context, Event.FEED_READER_ADMITTED, name, certificate)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, certificate.public_bytes(Encoding.PEM))
    return name, _admission(context, server)


def dismiss(context: AuthorityContext, name: str) -> None:
    """Take a reader's admission back; the servers of the feed go by the directory.

    Raises:
        InputRejected: nobody was admitted under that name.
        AuditFailed: it could not be recorded.
    """
    check_name(name)
    path = _path_of(context, name)
    if not path.exists():
        raise InputRejected("no such reader was admitted", place=str(path.parent), value=name)
    certificate = _certificate_in(path)
    with context.store.write() as connection:
        append_record(
            connection,
            context.clock,
            Event.FEED_READER_DISMISSED,
            actor=context.actor,
            body=_body(name, certificate),
        )
        path.unlink()  # before the commit: who is recorded as dismissed reads nothing any more
        _sync(path.parent)


def _record(context: AuthorityContext, event: Event, name: str, certificate: x509.Certificate) -> None:
    with context.store.write() as connection:
        append_record(connection, context.clock, event, actor=context.actor, body=_body(name, certificate))


def _body(name: str, certificate: x509.Certificate) -> dict[str, object]:
    return {"reader": name, "certificate_sha256": certificate.fingerprint(SHA256()).hex()}


def _path_of(context: AuthorityContext, name: str) -> Path:
    return Path(context.configuration.feed.directory) / ADMITTED / f"{name}.pem"


def _certificate_in(path: Path) -> x509.Certificate:
    return read_request(path.read_bytes())[1]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _admission(context: AuthorityContext, server: Path) -> Admission:
    authority = context.authority
    return Admission(
        feed=authority.ca.key_identifier.hex(),
        root=base64.b64encode(authority.root.certificate),  # the model is made of what travels
        ca=base64.b64encode(authority.ca.certificate),
        operations=base64.b64encode(authority.operations.certificate),
        server=server.read_text("ascii"),
        profile=_profile(context.configuration.x509.profiles),
    )


def _profile(path: str | None) -> str | None:
    try:
        return None if path is None else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(
            "the profile file cannot be read", place=path, rule="key x509.profiles"
        ) from error
