"""The development card centre: real and synthetic keys, numbers that never repeat, nothing half-written."""

import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from math import gcd
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from engine.clock import SystemClock
from engine.errors import HomeUnusable, InputRejected
from engine.issuance.card_exchange import card_keys
from engine.issuance.card_exchange.card_keys import CardKeys, read_card_keys
from engine.issuance.development_card_centre import CardCentre, CardRequest, make_card_keys, open_card_centre
from engine.issuance.development_card_centre.public_keys import POOL_NAME, PRIME_OCTETS
from engine.issuance.manifest import MANIFEST_NAME, SIGNATURE_NAME, read_manifest
from engine.kinds import Kind, Rank


@pytest.fixture
def centre(tmp_path: Path) -> CardCentre:
    return open_card_centre(tmp_path / "centre", SystemClock())


def requests(count: int, kind: Kind = Kind.COMPANY) -> list[CardRequest]:
    return [CardRequest(kind, f"{number:08d}", Rank.PRIMARY) for number in range(count)]


def make(
    centre: CardCentre, directory: Path, wanted: Any, *, synthetic: bool = True, **options: Any
) -> list[CardKeys]:
    """Make cards and read them back."""
    run = partial(
        make_card_keys, directory, wanted, centre=centre, synthetic=synthetic, processes=2, **options
    )
    made = trio.run(run)
    cards = list(read_card_keys(directory, trusted=[centre.certificate]))
    assert len(cards) == made
    return [card for card in cards if isinstance(card, CardKeys)]


def moduli(cards: list[CardKeys]) -> list[int]:
    """The moduli, after checking that each key is written as cryptography would write it."""
    found = []
    for card in cards:
        for key in card.keys.values():
            loaded = load_der_public_key(key)
            assert isinstance(loaded, RSAPublicKey)
            assert loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key
            assert (loaded.key_size, loaded.public_numbers().e) == (2048, 65537)
            found.append(loaded.public_numbers().n)
    return found


@pytest.mark.cps("6.1.1.1")
@pytest.mark.cps("6.1.5")
def test_real_cards_have_two_keys_of_their_own(centre: CardCentre, tmp_path: Path) -> None:
    wanted = requests(3)
    cards = make(centre, tmp_path / "out", iter(wanted), synthetic=False)
    assert [CardRequest(card.kind, card.identifier, card.rank) for card in cards] == wanted
    found = moduli(cards)
    assert len(found) == 6
    assert all(gcd(one, other) == 1 for index, one in enumerate(found) for other in found[:index])
    assert not (centre.directory / POOL_NAME).exists()
    assert is_synthetic(tmp_path / "out", centre) is False


def is_synthetic(directory: Path, centre: CardCentre) -> object:
    manifest = read_manifest(directory, purpose=card_keys.PURPOSE, trusted=[centre.certificate])
    return manifest.details["synthetic"]


def test_synthetic_keys_are_distinct_over_batches(centre: CardCentre, tmp_path: Path) -> None:
    sizes = [0, 1, 4, 7, 30]
    batches = [make(centre, tmp_path / f"out-{size}", requests(size)) for size in sizes]
    found = moduli([card for batch in batches for card in batch])
    assert len(set(found)) == 2 * sum(sizes)
    assert is_synthetic(tmp_path / "out-30", centre) is True
    assert (centre.directory / POOL_NAME).stat().st_size < 20 * PRIME_OCTETS


@pytest.mark.judge("openssl")
def test_openssl_accepts_a_synthetic_key(centre: CardCentre, tmp_path: Path) -> None:
    (card,) = make(centre, tmp_path / "out", requests(1))
    for key in card.keys.values():
        command = ["openssl", "pkey", "-pubin", "-inform", "DER", "-pubcheck", "-noout"]
        checked = subprocess.run(command, input=key, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout) == (0, b"Key is valid\n")


@pytest.mark.judge("openssl")
def test_openssl_verifies_the_batch(centre: CardCentre, tmp_path: Path) -> None:
    make(centre, tmp_path / "out", requests(1))
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(x509.load_der_x509_certificate(centre.certificate).public_bytes(Encoding.PEM))
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "manifest.json.p7s"]
    command += ["-content", "manifest.json", "-CAfile", str(trusted), "-purpose", "any"]
    verified = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, check=False)
    assert verified.returncode == 0, verified.stderr


def test_card_numbers_go_on_where_they_stopped(centre: CardCentre, tmp_path: Path) -> None:
    first = make(centre, tmp_path / "first", requests(2))
    assert [card.card_number for card in first] == ["MG00000000000001", "MG00000000000002"]
    again = open_card_centre(centre.directory, SystemClock())
    assert again.certificate == centre.certificate
    asked = make(again, tmp_path / "asked", requests(2), first_card_number=2)
    assert [card.card_number for card in asked] == ["MG00000000000002", "MG00000000000003"]
    later = make(again, tmp_path / "later", requests(1))
    assert [card.card_number for card in later] == ["MG00000000000004"]


@pytest.mark.parametrize("number", [-1, 10**14])
def test_number_without_fourteen_digits_is_refused(centre: CardCentre, tmp_path: Path, number: int) -> None:
    with pytest.raises(InputRejected, match="fourteen digits"):
        make(centre, tmp_path / "out", requests(1), first_card_number=number)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", [Kind.ONE_STOP, Kind.SETUP])
def test_signature_only_kinds_get_one_key(centre: CardCentre, tmp_path: Path, kind: Kind) -> None:
    cards = make(centre, tmp_path / "out", requests(2, kind))
    assert [len(card.keys) for card in cards] == [1, 1]


@pytest.mark.parametrize("synthetic", [True, False])
def test_interrupted_batch_leaves_nothing(centre: CardCentre, tmp_path: Path, synthetic: bool) -> None:
    def interrupted() -> Iterator[CardRequest]:
        yield from requests(2)
        raise KeyboardInterrupt

    make(centre, tmp_path / "out", requests(1))
    with pytest.raises(KeyboardInterrupt):
        make(centre, tmp_path / "new", interrupted(), synthetic=synthetic)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        make(centre, tmp_path / "out", interrupted(), synthetic=synthetic)
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()
    assert [card.card_number for card in make(centre, tmp_path / "new", requests(1))] == ["MG00000000000002"]


def test_what_a_killed_process_left_is_no_hindrance(centre: CardCentre, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in (card_keys.FILE_NAME, MANIFEST_NAME, SIGNATURE_NAME):
        (tmp_path / "out" / f".{name}.part").write_bytes(b"half")
    assert len(make(centre, tmp_path / "out", requests(1))) == 1


async def test_cancelled_batch_stops_and_leaves_nothing(centre: CardCentre, tmp_path: Path) -> None:
    begun = threading.Event()

    def endless() -> Iterator[CardRequest]:
        while True:
            yield CardRequest(Kind.COMPANY, "1", Rank.PRIMARY)
            begun.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(make_card_keys, tmp_path / "out", endless(), centre=centre, synthetic=True, processes=1)
        )
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    assert list(await trio.Path(tmp_path / "out").iterdir()) == []


async def test_two_commands_at_a_time_are_refused(centre: CardCentre, tmp_path: Path) -> None:
    def nested() -> Iterator[CardRequest]:
        with pytest.raises(HomeUnusable, match="another command"):
            make(centre, tmp_path / "second", requests(1))
        yield from requests(1)

    make_first = partial(
        make_card_keys, tmp_path / "first", nested(), centre=centre, synthetic=True, processes=1
    )
    assert await make_first() == 1


def test_progress_ends_at_the_number_of_cards(centre: CardCentre, tmp_path: Path) -> None:
    reports: list[int] = []
    make(centre, tmp_path / "out", requests(5), progress=reports.append)
    assert reports == sorted(reports)
    assert reports[-1] == 5


def test_secrets_are_readable_by_the_owner_only(centre: CardCentre, tmp_path: Path) -> None:
    make(centre, tmp_path / "out", requests(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in centre.directory.iterdir()}
    assert modes["card-centre.key"] == modes[POOL_NAME] == 0o600
    assert stat.S_IMODE(centre.directory.stat().st_mode) == 0o700


def test_torn_prime_is_cut_off_and_damage_is_named(centre: CardCentre, tmp_path: Path) -> None:
    before = make(centre, tmp_path / "before", requests(2))
    pool = centre.directory / POOL_NAME
    with pool.open("ab") as file:
        file.write(b"\xff" * 5)
    after = make(centre, tmp_path / "after", requests(9))
    assert len({*moduli(before), *moduli(after)}) == 2 * (2 + 9)
    pool.write_bytes(bytes(PRIME_OCTETS))
    with pytest.raises(HomeUnusable, match="pool of primes is damaged"):
        make(centre, tmp_path / "damaged", requests(1))


@pytest.mark.parametrize(
    ("name", "content"),
    [("card-centre.key", b"no key"), ("card-centre.der", b"no certificate")],
)
def test_damaged_card_centre_is_named(centre: CardCentre, name: str, content: bytes) -> None:
    (centre.directory / name).write_bytes(content)
    with pytest.raises(HomeUnusable, match="cannot be opened"):
        open_card_centre(centre.directory, SystemClock())


def test_certificate_of_another_key_is_refused(centre: CardCentre, tmp_path: Path) -> None:
    other = open_card_centre(tmp_path / "other", SystemClock())
    (centre.directory / "card-centre.der").write_bytes(other.certificate)
    with pytest.raises(HomeUnusable, match="key beside it"):
        open_card_centre(centre.directory, SystemClock())


def test_unreadable_numbers_are_refused_not_begun_again(centre: CardCentre, tmp_path: Path) -> None:
    (centre.directory / "used-numbers.json").write_text(
        json.dumps({"next_card_number": -1, "next_prime_pair": 0})
    )
    with pytest.raises(HomeUnusable, match="used numbers"):
        make(centre, tmp_path / "out", requests(1))


def test_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable):
        open_card_centre(tmp_path / "file" / "centre", SystemClock())
