"""Where CRL files lie, and what HTTP is told of them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigurationInvalid
from engine.status.crl_files import PublishedCrl, all_published, delta_uri_of, file_of, published, uri_path_of
from tests.x509.test_revocation_list import NEXT_UPDATE, THIS_UPDATE, entry, make_list

FULL = make_list([entry()])
OTHER = make_list([entry(4)])


def put(directory: Path, name: str, content: bytes) -> Path:
    """Publish as the generator does: by rename."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.1.partial")
    partial.write_bytes(content)
    partial.rename(path)
    return path


def found(directory: Path, uri_path: str) -> PublishedCrl:
    one = published(directory, uri_path)
    assert one is not None
    return one


def test_times_and_tag_are_those_of_the_list(tmp_path: Path) -> None:
    path = put(tmp_path, "repository/CRL2/CRL_0001.crl", FULL)
    one = found(tmp_path, "/repository/CRL2/CRL_0001.crl")
    assert one.path == path
    assert one.uri_path == "/repository/CRL2/CRL_0001.crl"
    assert one.this_update == int(THIS_UPDATE.timestamp())
    assert one.next_update == int(NEXT_UPDATE.timestamp())
    assert one.size == len(FULL)
    assert one.etag.isalnum()
    file = one.open()
    assert file is not None
    with file:
        assert file.read() == FULL


def test_the_same_list_has_the_same_tag_everywhere(tmp_path: Path) -> None:
    put(tmp_path / "one", "a.crl", FULL)
    put(tmp_path / "two", "b.crl", FULL)
    assert found(tmp_path / "one", "/a.crl").etag == found(tmp_path / "two", "/b.crl").etag


@pytest.mark.parametrize(
    "other",
    [
        OTHER,
        make_list([]),
        make_list([entry()], this_update=THIS_UPDATE + timedelta(seconds=1)),
        # differs only in the middle, far from both ends
        make_list([entry()] * 500 + [entry(4)] + [entry()] * 500),
    ],
)
def test_another_list_has_another_tag(other: bytes, tmp_path: Path) -> None:
    put(tmp_path, "1.crl", make_list([entry()] * 1_001) if len(other) > 10_000 else FULL)
    before = found(tmp_path, "/1.crl")
    put(tmp_path, "1.crl", other)
    after = found(tmp_path, "/1.crl")
    assert before.etag != after.etag


def test_a_list_that_was_replaced_is_not_opened_under_the_old_tag(tmp_path: Path) -> None:
    put(tmp_path, "1.crl", FULL)
    before = found(tmp_path, "/1.crl")
    put(tmp_path, "1.crl", OTHER)
    assert before.open() is None
    file = found(tmp_path, "/1.crl").open()
    assert file is not None
    with file:
        assert file.read() == OTHER


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path = put(tmp_path, "1.crl", FULL)
    first = found(tmp_path, "/1.crl")
    assert found(tmp_path, "/1.crl") is first
    path.unlink()
    assert published(tmp_path, "/1.crl") is None
    assert first.open() is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "1.crl",
        "//1.crl",
        "/../inside/1.crl",
        "/sub/../1.crl",
        "/./1.crl",
        "/.1.crl.7.partial",
        "/sub",
        "/1.crl/",
        "/1.crl\0",
        "/none.crl",
        "/1.crl/2.crl",
        "/" + "long" * 100,
        "/\udce4.crl",
        "/no-crl.txt",
        "/empty.crl",
    ],
)
def test_other_paths_lead_nowhere(path: str, tmp_path: Path) -> None:
    directory = tmp_path / "inside"
    put(directory, "1.crl", FULL)
    put(directory, "sub/2.crl", FULL)
    put(tmp_path, "secret.crl", FULL)
    (directory / ".1.crl.7.partial").write_bytes(FULL)
    (directory / "no-crl.txt").write_bytes(b"0\x03abc")
    (directory / "empty.crl").touch()
    assert published(directory, path) is None


@given(st.text(max_size=60))
@settings(deadline=None)
def test_no_path_is_a_crash(path: str) -> None:
    assert published(Path("/nonexistent"), path) is None


def test_all_that_is_published(tmp_path: Path) -> None:
    put(tmp_path, "complete.crl", FULL)
    put(tmp_path, "sub/1.crl", OTHER)
    (tmp_path / "sub" / ".1.crl.3.partial").write_bytes(OTHER)
    (tmp_path / "readme").write_text("not a CRL")
    assert [one.uri_path for one in all_published(tmp_path)] == ["/complete.crl", "/sub/1.crl"]
    assert list(all_published(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (
            "http://moeaca.nat.gov.tw/repository/MOEACA/CRL2/CRL_0001.crl",
            "/repository/MOEACA/CRL2/CRL_0001.crl",
        ),
        ("https://crl.example:8080/a%20b/%E5%AE%8C.crl", "/a b/完.crl"),
    ],
)
def test_a_file_lies_at_the_path_of_its_uri(uri: str, path: str) -> None:
    assert uri_path_of(uri) == path
    assert file_of(Path("/crl"), uri) == Path("/crl" + path)


@pytest.mark.parametrize(
    "uri",
    [
        "http://crl.example",
        "http://crl.example/",
        "http://crl.example/a/",
        "http://crl.example/../1.crl",
        "http://crl.example/%2e%2e/1.crl",
        "http://crl.example/a%2F..%2F..%2F1.crl",
        "http://crl.example/.hidden.crl",
        "http://crl.example/%00.crl",
        "http://crl.example/%FF.crl",
        "http://crl.example/1.crl?x=1",
        "ldap://crl.example/cn=CA?certificateRevocationList",
        "1.crl",
    ],
)
def test_uris_that_no_file_can_stand_for(uri: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        uri_path_of(uri)


def test_uris_of_deltas() -> None:
    assert delta_uri_of("http://crl.example/CRL_0001.crl") == "http://crl.example/CRL_0001-delta.crl"
    assert delta_uri_of("http://crl.example/list") == "http://crl.example/list-delta"


def test_a_fifo_in_the_directory_keeps_nobody(tmp_path: Path) -> None:
    put(tmp_path, "1.crl", FULL)
    os.mkfifo(tmp_path / "pipe.crl")
    assert published(tmp_path, "/pipe.crl") is None
