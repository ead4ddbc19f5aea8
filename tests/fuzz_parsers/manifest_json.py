"""Manifests (`engine/issuance/manifest.py`) behind their signature, which is taken as right here."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from unittest.mock import patch

from engine.errors import InputRejected
from engine.issuance import manifest

_FILE = b"a file"
_DIGEST = hashlib.sha256(_FILE).hexdigest()


def seeds() -> list[bytes]:
    line = f'{{"name":"card-keys.jsonl","size":{len(_FILE)},"sha256":"{_DIGEST}"}}'
    head = '{"version":1,"purpose":"fuzzing","created":"2026-03-02T12:00:00Z","details":'
    return [f'{head}{{}},"files":[{line}]}}'.encode(), f'{head}{{"a":[1,null]}},"files":[{line}]}}'.encode()]


def attempt(octets: bytes) -> bool:
    with tempfile.TemporaryDirectory() as name, patch.object(manifest, "verify_detached"):
        directory = Path(name)
        (directory / "card-keys.jsonl").write_bytes(_FILE)
        (directory / manifest.SIGNATURE_NAME).write_bytes(b"")
        (directory / manifest.MANIFEST_NAME).write_bytes(octets)
        try:
            manifest.read_manifest(directory, purpose="fuzzing", trusted=())
        except InputRejected as error:
            assert str(error)
            return False
    return True
