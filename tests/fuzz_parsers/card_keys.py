"""Lines of a card-key file (`engine/issuance/card_exchange`) behind its manifest, which is taken as right here."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from engine.issuance.card_exchange import signed_lines
from engine.issuance.card_exchange.card_keys import (
    FILE_NAME,
    PURPOSE,
    CardKeys,
    CardRejected,
    card_keys_line,
    read_card_keys,
)
from engine.issuance.card_exchange.row_fields import KINDS, RANKS, USAGES_OF_KIND
from engine.issuance.manifest import Manifest, ManifestFile
from tests.fuzz_parsers import public_key

_MANIFEST = Manifest(
    purpose=PURPOSE,
    created=datetime(2026, 3, 2, tzinfo=UTC),
    details={},
    files=(ManifestFile(name=FILE_NAME, size=0, sha256="0" * 64),),
)


def seeds() -> list[bytes]:
    lines = [
        card_keys_line(
            CardKeys(
                "AB00000000000001",
                kind,
                "22099131",
                next(iter(RANKS.values())),
                dict(zip(USAGES_OF_KIND[kind].values(), public_key.seeds(), strict=False)),
                1,
            )
        ).rstrip()
        + b"\n"
        for kind in KINDS.values()
    ]
    return [*lines, b"".join(lines)]


def attempt(octets: bytes) -> bool:
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(signed_lines, "read_manifest", return_value=_MANIFEST),
    ):
        (Path(name) / FILE_NAME).write_bytes(octets)
        outcomes = list(read_card_keys(Path(name), trusted=()))
    assert all(isinstance(one, CardKeys | CardRejected) for one in outcomes)
    return bool(outcomes) and all(isinstance(one, CardKeys) for one in outcomes)
