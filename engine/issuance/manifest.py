"""The signed manifest of a directory of files (CPS 1.3.3, 6.1.9): what is in it, byte for byte, and who says so.

`manifest.json` lists every other file with size and SHA-256; `manifest.json.p7s` is the detached signature over it.
The manifest is the last file to appear, so a directory that has one is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import orjson
import trio
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from engine.authority.detached_signature import Sign, sign_detached, verify_detached
from engine.errors import HomeUnusable, InputRejected, SignatureInvalid

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.p7s"

MAXIMUM_SIZE = 64 * 1024 * 1024
"""Octets of a manifest or of its signature that are read at most: about half a million files. A guess."""

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""A file of the directory itself, under a name that every file system can hold."""

NAME_RULE = (
    "a file name is ASCII letters, digits, '.', '_', '-'; no path, no hidden file, not the manifest's own"
)


def _file_name(name: str) -> str:
    if FILE_NAME.fullmatch(name) is None or name in (MANIFEST_NAME, SIGNATURE_NAME):
        raise ValueError(NAME_RULE)
    return name


class ManifestFile(BaseModel):
    """One file: its name in the directory, its size in octets and its SHA-256 in lower-case hexadecimal."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Annotated[str, AfterValidator(_file_name)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _distinct(files: tuple[ManifestFile, ...]) -> tuple[ManifestFile, ...]:
    names = set()
    for file in files:
        if file.name in names:
            raise ValueError(f"a file is listed once, {file.name} is there twice")
        names.add(file.name)
    return files


class Manifest(BaseModel):
    """The content of `manifest.json`.

    `purpose` says which exchange the files are for, so that those of one cannot be handed in as another's; `created`
    is an aware time; `details` is whatever the purpose adds.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    version: Literal[1] = 1
    purpose: str
    created: AwareDatetime
    details: dict[str, JsonValue]
    files: Annotated[tuple[ManifestFile, ...], AfterValidator(_distinct)]

    def canonical_json(self) -> bytes:
        """Return the manifest as UTF-8 JSON with sorted keys, no spaces and one line feed at the end."""
        return orjson.dumps(
            self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        )


async def write_manifest(
    directory: Path,
    files: Sequence[str],
    *,
    purpose: str,
    details: Mapping[str, JsonValue],
    certificate: bytes,
    chain: Sequence[bytes],
    now: datetime,
    sign: Sign,
) -> Path:
    """Hash the files of a directory, sign the list, and put manifest and signature beside them.

    An older manifest goes first. If cancelled, there is either the whole manifest or none.

    Args:
        directory: holds the files; nothing else may be in it.
        files: the names of all its files.
        purpose: which exchange the files are for.
        details: what the purpose adds; JSON values.
        certificate: the signer's certificate, DER.
        chain: certificates to send along, DER.
        now: the time of creation and signing; aware.
        sign: signs with the certificate's key.

    Returns:
        The path of the manifest.

    Raises:
        InputRejected: a file is missing, not listed, listed twice, or has a name that cannot be listed.
        HomeUnusable: the directory cannot be written.
        ConfigurationInvalid, SignatureInvalid, TokenError: as `sign_detached` raises them.
    """
    path = directory / MANIFEST_NAME
    await trio.to_thread.run_sync(remove_manifest, directory)
    listed = await trio.to_thread.run_sync(partial(_hash_files, directory, files))
    created = now.astimezone(UTC).replace(microsecond=0)
    content = {"purpose": purpose, "created": created, "details": dict(details), "files": listed}
    manifest = _validated(orjson.dumps(content), path).canonical_json()
    signature = await sign_detached(
        manifest, certificate=certificate, chain=chain, signing_time=now, sign=sign
    )
    await trio.to_thread.run_sync(_write, directory / SIGNATURE_NAME, signature)
    await trio.to_thread.run_sync(_write, path, manifest)
    return path


def read_manifest(directory: Path, *, purpose: str, trusted: Sequence[bytes]) -> Manifest:
    """Check the signature of a directory's manifest and every file that it lists.

    Args:
        directory: as the other side handed it over.
        purpose: which exchange the files must be for.
        trusted: the certificates whose keys may sign it, DER.

    Raises:
        SignatureInvalid: the signature is malformed or not by a trusted key.
        InputRejected: manifest or signature is missing; the manifest is malformed or has another purpose; a file is
            missing, not listed, or not the one that was signed. The error names the file and the rule.
        ConfigurationInvalid: a trusted certificate cannot be read.
    """
    path = directory / MANIFEST_NAME
    content = _read(path)
    try:
        verify_detached(content, _read(directory / SIGNATURE_NAME), trusted)
    except SignatureInvalid as error:
        error.place = str(directory / SIGNATURE_NAME)
        raise
    manifest = _validated(content, path)
    if manifest.purpose != purpose:
        raise InputRejected(
            "the manifest is for another purpose",
            place=str(path),
            value=manifest.purpose,
            rule=f"purpose = {purpose}",
        )
    _check_only(directory, [file.name for file in manifest.files])
    for file in manifest.files:
        _check_file(directory / file.name, file)
    return manifest


def remove_manifest(directory: Path) -> None:
    """Make the directory if need be, and take away an older manifest, or parts of one, before its files change.

    Raises:
        HomeUnusable: the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in (directory / MANIFEST_NAME, directory / SIGNATURE_NAME):
            path.unlink(missing_ok=True)
            _temporary(path).unlink(missing_ok=True)
    except OSError as error:
        raise HomeUnusable(f"cannot be written: {error.strerror}", place=str(directory)) from error


@contextmanager
def durable_file(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is whole and on the disk.

    Args:
        path: the name it gets; an older file of that name is replaced.
        mode: the permission bits, less the process's mask.

    Raises:
        HomeUnusable: the file cannot be written. Neither then nor after any other exception is anything left.
    """
    temporary = _temporary(path)
    try:
        temporary.unlink(missing_ok=True)  # one left by a killed process may have other permission bits
        with open(temporary, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise HomeUnusable(f"cannot be written: {error.strerror}", place=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """The name under which a file grows; fixed, so that the next attempt clears away what a killed process left."""
    return path.with_name(f".{path.name}.part")


def _sync_directory(directory: Path) -> None:
    """Make a rename in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with durable_file(path) as file:
        file.write(content)


def _hash_files(directory: Path, files: Sequence[str]) -> list[dict[str, JsonValue]]:
    """Return name, size and SHA-256 of every file, after checking that the directory holds just these."""
    _check_only(directory, files)
    listed: list[dict[str, JsonValue]] = []
    for name in sorted(files):
        path = directory / name
        try:
            _file_name(name)
        except ValueError as error:
            raise InputRejected("the file cannot be listed", place=str(path), rule=NAME_RULE) from error
        listed.append({"name": name, "size": _size(path), "sha256": _sha256(path)})
    return listed


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Translate what the operating system says about a file or directory that cannot be read."""
    try:
        yield
    except OSError as error:
        raise InputRejected(f"cannot be read: {error.strerror}", place=str(path)) from error


def _check_only(directory: Path, listed: Sequence[str]) -> None:
    """Refuse a directory that holds what its manifest does not list."""
    allowed = {MANIFEST_NAME, SIGNATURE_NAME, *listed}
    with _readable(directory):
        unlisted = sorted(path.name for path in directory.iterdir() if path.name not in allowed)
    if unlisted:
        raise InputRejected("the manifest does not list this file", place=str(directory / unlisted[0]))


def _check_file(path: Path, file: ManifestFile) -> None:
    """Compare one file with its line in the manifest; the size first, since it costs nothing."""
    size = _size(path)
    if size != file.size:
        raise InputRejected(
            "the file is not the one that was signed", place=str(path), value=size, rule=f"size = {file.size}"
        )
    sha256 = _sha256(path)
    if sha256 != file.sha256:
        raise InputRejected(
            "the file is not the one that was signed",
            place=str(path),
            value=sha256,
            rule=f"sha256 = {file.sha256}",
        )


def _size(path: Path) -> int:
    """Return the size of a regular file; a link could lead out of the directory."""
    if path.is_symlink() or not path.is_file():
        raise InputRejected("the manifest lists a file that is not there", place=str(path))
    return path.stat().st_size


def _sha256(path: Path) -> str:
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    """Read a manifest or a signature, which may be missing or absurdly large."""
    with _readable(path), path.open("rb") as file:
        content = file.read(MAXIMUM_SIZE + 1)
    if len(content) > MAXIMUM_SIZE:
        raise InputRejected("too large", place=str(path), rule=f"at most {MAXIMUM_SIZE} octets")
    return content


def _validated(content: bytes, path: Path) -> Manifest:
    """Parse a manifest and check its form, naming the first field that is wrong."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputRejected(
            "the manifest is malformed",
            place=f"{path} {place}".rstrip(),
            value=first["input"],
            rule=first["msg"],
        ) from error
