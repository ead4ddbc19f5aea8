"""A public host's side of the admission: it asks for it, and writes down whom it is to believe."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from engine.algorithms import SignatureAlgorithm
from engine.clock import Clock
from engine.config import load_public_configuration
from engine.errors import FeedRejected, HomeUnusable, InputRejected
from engine.feed.admission import SERVER_CERTIFICATE, admission_from
from engine.feed.feed_url import checked_url
from engine.feed.self_signed import check_name, key_of, new_key, read_request, self_signed
from engine.feed.trust import FeedTrust, trust_in
from engine.home import Home, write_private

OWN_CERTIFICATE = "own.pem"
"""In `[feed].directory`: the certificate this host asks with."""

OWN_KEY = "feed-key.pem"
"""In the secrets of the home."""

_PROFILES = "profiles.toml"
_GROUP_READS = 0o750
_FOR_THE_GROUP = ("certificates", "crl", "repository", "usage")
"""What the processes that answer read, which may run as another user of the group."""


def feed_directory(home: Home) -> Path:
    """Return `[feed].directory` of a public host, which has no configuration before it joined."""
    if not home.configuration.exists():
        return home.path / "feed"
    return Path(load_public_configuration(home.path).feed.directory)


def request_admission(home: Home, name: str, clock: Clock) -> bytes:
    """Make the home of a public host with a key of its own; return the certificate to be handed in, PEM.

    Asking again under the same name gives the same certificate, as long as it is valid.

    Raises:
        InputRejected: the name is not plain.
        HomeUnusable: the directory is the home of a CA, of a host with another name, or not writable.
    """
    check_name(name)
    directory = feed_directory(home)
    home.create(public=True)
    for path in (home.path, *(home.path / part for part in _FOR_THE_GROUP)):
        path.chmod(_GROUP_READS)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_path, path = home.path / "secrets" / OWN_KEY, directory / OWN_CERTIFICATE
    with home.lock("feed-request", "asking for admission"):
        if not key_path.exists():
            write_private(key_path, new_key())
            path.unlink(missing_ok=True)
        if path.exists():
            return _own(path, name, clock)
        certificate = self_signed(name, key_path.read_bytes(), clock)
        write_private(path, certificate)
    return certificate


def _own(path: Path, name: str, clock: Clock) -> bytes:
    octets = path.read_bytes()
    try:
        found, certificate = read_request(octets)
    except InputRejected as error:
        raise HomeUnusable(
            "this host's own certificate is damaged", place=str(path), rule=error.message
        ) from error
    if found != name:
        raise HomeUnusable(
            "this host has another name", place=str(path), value=found, rule="one home, one reader"
        )
    if certificate.not_valid_after_utc <= clock.now():
        raise HomeUnusable(
            "this host's own certificate has expired; remove it and ask again",
            place=str(path),
            value=certificate.not_valid_after_utc.isoformat(),
        )
    return octets


def join(home: Home, document: bytes, url: str | None) -> FeedTrust:
    """Write down whom this host is to believe, and its configuration where there is none yet.

    Args:
        home: in which `request_admission` was called.
        document: what `feed admit` wrote.
        url: where the feed is; it goes into the configuration.

    Raises:
        InputRejected: the document is none, or its certificates do not belong together.
        HomeUnusable: this host did not ask, or follows another CA.
        ConfigurationInvalid: the URL is none of a feed.
    """
    if not (home.path / "secrets" / OWN_KEY).exists():
        raise HomeUnusable(
            "this host did not ask for admission; begin with: sealmint feed request", place=str(home.path)
        )
    if url is not None:
        checked_url(url)
    admission = admission_from(document)
    try:
        trust = trust_in(admission.root, admission.ca, admission.operations)
    except FeedRejected as error:
        raise InputRejected("the admission is wrong", place="admission", rule=str(error)) from error
    if trust.feed != admission.feed:
        raise InputRejected("the admission names another CA", place="feed", value=admission.feed)
    _check_same_ca(home, trust)
    server = _server_certificate(admission.server)
    write_private(feed_directory(home) / SERVER_CERTIFICATE, server)
    for role, certificate in (
        ("root", trust.root),
        ("ca", trust.ca_octets),
        ("operations", trust.operations),
    ):
        _write_readable(home.certificates / f"{role}.der", certificate)
    if admission.profile is not None:
        _write_readable(home.path / _PROFILES, admission.profile.encode("utf-8"))
    if not home.configuration.exists():
        text = _configuration(url, trust.issuer.algorithm, has_profiles=admission.profile is not None)
        _write_readable(home.configuration, text.encode("utf-8"))
    load_public_configuration(home.path)
    return trust


def root_digest(trust: FeedTrust) -> str:
    """Return SHA-256 of the root certificate as people compare it: pairs of hex digits with colons between."""
    return hashlib.sha256(trust.root).digest().hex(":").upper()


def _check_same_ca(home: Home, trust: FeedTrust) -> None:
    path = home.certificates / "ca.der"
    if not path.exists():
        return
    try:
        before = x509.load_der_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise HomeUnusable("the CA certificate of this home is damaged", place=str(path)) from error
    if key_of(before) != key_of(trust.ca):
        raise HomeUnusable(
            "this host follows another CA; make another home for this one",
            place=str(path),
            value=before.subject.rfc4514_string(),
        )


def _server_certificate(text: str) -> bytes:
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode("ascii"))
    except ValueError as error:
        raise InputRejected("the admission has no server certificate", place="server") from error
    return certificate.public_bytes(Encoding.PEM)


def _configuration(url: str | None, algorithm: SignatureAlgorithm, *, has_profiles: bool) -> str:
    lines = ["# sealmint; every setting and its default: docs/operation.md", "", 'role = "public"']
    if url is not None:
        lines += ["", "[feed]", f'url = "{url}"']
    lines += ["", "[x509]", f'signature_algorithm = "{algorithm.value}"']
    if has_profiles:
        lines.append(f'profiles = "{{home}}/{_PROFILES}"')
    return "\n".join(lines) + "\n"


def _write_readable(path: Path, octets: bytes) -> None:
    write_private(path, octets)
    path.chmod(0o640)
