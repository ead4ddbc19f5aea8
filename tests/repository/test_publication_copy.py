"""The listing of publications on a public host."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InputRejected, StoreError
from engine.repository.publication_copy import Publication, PublicationCopy
from tests.repository.sample_site import PUBLICATIONS


def test_what_is_written_is_read_by_another(tmp_path: Path) -> None:
    assert PublicationCopy(tmp_path).read() == ()
    reader = PublicationCopy(tmp_path)
    PublicationCopy(tmp_path).write(PUBLICATIONS)
    assert reader.read() == tuple(PUBLICATIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["publications.json"]


def test_a_changed_listing_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    copy = PublicationCopy(tmp_path)
    copy.write(PUBLICATIONS)
    first = copy.read()
    assert copy.read() is first
    copy.write(PUBLICATIONS[:1])
    assert copy.read() == tuple(PUBLICATIONS[:1])


def test_fields_that_a_newer_host_adds_are_passed_over(tmp_path: Path) -> None:
    one = Publication.model_validate(PUBLICATIONS[0].model_dump() | {"colour": "red"})
    assert one == PUBLICATIONS[0]


def test_a_damaged_listing_is_named(tmp_path: Path) -> None:
    (tmp_path / "publications.json").write_text("[{")
    with pytest.raises(StoreError, match=r"publications\.json"):
        PublicationCopy(tmp_path).read()


def test_a_listing_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    copy = PublicationCopy(tmp_path)
    copy.write(PUBLICATIONS)
    (tmp_path / ".publications.json.partial").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        copy.write([])
    assert copy.read() == tuple(PUBLICATIONS)


@pytest.mark.parametrize("digest", ["", "../secret", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_digest_names_a_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(InputRejected, match="64 hexadecimal"):
        PublicationCopy(tmp_path).content_path(digest)
