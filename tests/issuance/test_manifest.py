"""The signed manifest of a directory: what it lists is what is there, and anything else is refused by name."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from engine.authority.detached_signature import Sign, sign_detached
from engine.clock import SystemClock
from engine.errors import HomeUnusable, InputRejected, SignatureInvalid
from engine.issuance.development_card_centre import CardCentre, open_card_centre
from engine.issuance.manifest import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    durable_file,
    read_manifest,
    remove_manifest,
    write_manifest,
)

PURPOSE = "試驗"
FILES = {"b.jsonl": "臺灣\n".encode(), "a.der": bytes(range(256)), "empty": b""}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> CardCentre:
    return open_card_centre(tmp_path_factory.mktemp("signer"), SystemClock())


async def write(directory: Path, signer: CardCentre, files: list[str], sign: Sign | None = None) -> Path:
    return await write_manifest(
        directory,
        files,
        purpose=PURPOSE,
        details={"run": 7, "name": "某公司"},
        certificate=signer.certificate,
        chain=[],
        now=signer.clock.now(),
        sign=sign or signer.sign,
    )


@pytest.fixture
def directory(tmp_path: Path, signer: CardCentre) -> Path:
    """A directory with a good manifest."""
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    for name, content in FILES.items():
        (exchange / name).write_bytes(content)
    trio.run(write, exchange, signer, list(FILES))
    return exchange


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def sign_manifest(directory: Path, signer: CardCentre, content: bytes) -> None:
    """Put a manifest of any content there, with a good signature."""
    signature = await sign_detached(
        content, certificate=signer.certificate, chain=[], signing_time=signer.clock.now(), sign=signer.sign
    )
    (directory / MANIFEST_NAME).write_bytes(content)
    (directory / SIGNATURE_NAME).write_bytes(signature)


def test_manifest_is_read_back(directory: Path, signer: CardCentre) -> None:
    manifest = read_manifest(directory, purpose=PURPOSE, trusted=[signer.certificate])
    assert {file.name: file.size for file in manifest.files} == {name: len(FILES[name]) for name in FILES}
    assert manifest.details == {"run": 7, "name": "某公司"}
    assert manifest.created.utcoffset() is not None


def test_manifest_is_canonical(directory: Path) -> None:
    content = (directory / MANIFEST_NAME).read_text("utf-8")
    canonical = (
        json.dumps(json.loads(content), sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n"
    )
    assert content == canonical


@pytest.mark.judge("openssl")
def test_openssl_verifies_the_manifest(directory: Path, signer: CardCentre, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(x509.load_der_x509_certificate(signer.certificate).public_bytes(Encoding.PEM))
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", SIGNATURE_NAME]
    command += ["-content", MANIFEST_NAME, "-CAfile", str(trusted), "-purpose", "any"]
    assert subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0
    with (directory / MANIFEST_NAME).open("ab") as manifest:
        manifest.write(b" ")
    assert subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode != 0


@pytest.mark.judge("sha256sum")
def test_hashes_are_those_of_the_files(directory: Path) -> None:
    files = json.loads((directory / MANIFEST_NAME).read_bytes())["files"]
    lines = "".join(f"{file['sha256']}  {file['name']}\n" for file in files)
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict"],
        cwd=directory,
        input=lines.encode(),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, len(files)) == (0, len(FILES))


def link_elsewhere(directory: Path) -> None:
    (directory / "a.der").rename(directory.parent / "a.der")
    (directory / "a.der").symlink_to(directory.parent / "a.der")


@pytest.mark.parametrize(
    ("damage", "error", "place", "words"),
    [
        (lambda d: (d / "a.der").write_bytes(bytes(256)), InputRejected, "a.der", "sha256"),
        (lambda d: (d / "a.der").write_bytes(bytes(255)), InputRejected, "a.der", "size"),
        (lambda d: (d / "a.der").unlink(), InputRejected, "a.der", "not there"),
        (link_elsewhere, InputRejected, "a.der", "not there"),
        (lambda d: (d / "added").touch(), InputRejected, "added", "does not list"),
        (lambda d: (d / MANIFEST_NAME).unlink(), InputRejected, MANIFEST_NAME, "cannot be read"),
        (lambda d: (d / SIGNATURE_NAME).unlink(), InputRejected, SIGNATURE_NAME, "cannot be read"),
        (lambda d: (d / SIGNATURE_NAME).write_bytes(b""), SignatureInvalid, SIGNATURE_NAME, "RFC 5652"),
        (lambda d: (d / MANIFEST_NAME).write_bytes(b"{}"), SignatureInvalid, SIGNATURE_NAME, "messageDigest"),
        (shutil.rmtree, InputRejected, MANIFEST_NAME, "cannot be read"),
    ],
)
def test_damage_is_named(
    directory: Path,
    signer: CardCentre,
    damage: Callable[[Path], object],
    error: type[InputRejected | SignatureInvalid],
    place: str,
    words: str,
) -> None:
    damage(directory)
    with pytest.raises(error, match=words) as raised:
        read_manifest(directory, purpose=PURPOSE, trusted=[signer.certificate])
    assert raised.value.place == str(directory / place)


def test_another_purpose_is_refused(directory: Path, signer: CardCentre) -> None:
    with pytest.raises(InputRejected, match="another purpose"):
        read_manifest(directory, purpose="card-keys", trusted=[signer.certificate])


def test_a_signer_nobody_trusts_is_refused(directory: Path) -> None:
    with pytest.raises(SignatureInvalid, match="none of the trusted"):
        read_manifest(directory, purpose=PURPOSE, trusted=[])


def listed(name: object = "empty", size: object = 0, sha256: object = "0" * 64) -> dict[str, object]:
    return {"name": name, "size": size, "sha256": sha256}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"files": [listed("../x")]}, "files.0.name"),
        ({"files": [listed("/etc/passwd")]}, "files.0.name"),
        ({"files": [listed("..")]}, "files.0.name"),
        ({"files": [listed("a\0b")]}, "files.0.name"),
        ({"files": [listed("a\n")]}, "files.0.name"),
        ({"files": [listed("a\\b")]}, "files.0.name"),
        ({"files": [listed(".hidden")]}, "files.0.name"),
        ({"files": [listed(MANIFEST_NAME)]}, "files.0.name"),
        ({"files": [listed("empty"), listed("empty")]}, "files"),
        ({"files": [listed(size=-1)]}, "files.0.size"),
        ({"files": [listed(size="0")]}, "files.0.size"),
        ({"files": [listed(sha256="0" * 63 + "g")]}, "files.0.sha256"),
        ({"files": [listed(sha256="0" * 64 + "\n")]}, "files.0.sha256"),
        ({"created": "2026-01-01T00:00:00"}, "created"),
        ({"created": "yesterday"}, "created"),
        ({"version": 2}, "version"),
        ({"purpose": 1}, "purpose"),
        ({"surplus": 1}, "surplus"),
    ],
)
async def test_signed_but_malformed_manifest_is_refused(
    directory: Path, signer: CardCentre, change: dict[str, Any], place: str
) -> None:
    manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
    await sign_manifest(directory, signer, json.dumps({**manifest, **change}).encode())
    with pytest.raises(InputRejected, match="malformed") as raised:
        read_manifest(directory, purpose=PURPOSE, trusted=[signer.certificate])
    assert raised.value.place == f"{directory / MANIFEST_NAME} {place}"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"files":', b"\xff", b"[" * 10_000])
async def test_signed_content_that_is_no_manifest_is_refused(
    directory: Path, signer: CardCentre, content: bytes
) -> None:
    await sign_manifest(directory, signer, content)
    with pytest.raises(InputRejected, match="malformed"):
        read_manifest(directory, purpose=PURPOSE, trusted=[signer.certificate])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.der", "b.jsonl"], "does not list"),
        ([*FILES, "missing"], "not there"),
        ([*FILES, "../outside"], "cannot be listed"),
        ([*FILES, "empty"], "there twice"),
    ],
)
async def test_manifest_that_could_not_be_read_is_not_written(
    directory: Path, signer: CardCentre, files: list[str], words: str
) -> None:
    (directory.parent / "outside").touch()
    with pytest.raises(InputRejected, match=words):
        await write(directory, signer, files)
    assert names(directory) == set(FILES)


async def test_manifest_is_the_last_file_to_appear(directory: Path, signer: CardCentre) -> None:
    async def sign(content: bytes) -> bytes:
        await trio.Path(directory / MANIFEST_NAME).mkdir()  # so that nothing can take its place
        return await signer.sign(content)

    with pytest.raises(HomeUnusable, match=MANIFEST_NAME):
        await write(directory, signer, list(FILES), sign)
    assert (directory / SIGNATURE_NAME).is_file()


def test_interrupted_file_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), durable_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"old")


def test_secret_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.with_name(".secret.part").touch(mode=0o644)  # left by a process that was killed
    with durable_file(path, mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match="Not a directory"):
        remove_manifest(tmp_path / "file" / "under")
    with pytest.raises(HomeUnusable, match="No such file"), durable_file(tmp_path / "none" / "file"):
        pass
