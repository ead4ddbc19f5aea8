"""`sealmint cert` and `sealmint entity`: acts on status as people and programs ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome, copy_of, run_here


@pytest.fixture(scope="module")
def issued_home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home whose run is completed; each test has a company of its own in it."""
    home = copy_of(prepared, tmp_path_factory.mktemp("status") / "copy")
    home.sealmint("run", "start", 1)
    return home


class Company:
    """A company's number, its card and its serials."""

    def __init__(self, home: PreparedHome, place: int) -> None:
        self.home = home
        ((entity_id, self.identifier),) = home.query(
            "SELECT id, identifier FROM entity ORDER BY id LIMIT 1 OFFSET ?", place
        )
        rows = home.query(
            "SELECT card.number, hex(reservation.serial) FROM card JOIN item ON item.card_id = card.id"
            " JOIN reservation ON reservation.item_id = item.id WHERE card.entity_id = ? ORDER BY item.id",
            entity_id,
        )
        self.card = rows[0][0]
        self.serials = [serial for _, serial in rows]

    def shown(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.home.look("cert", "show", self.identifier).json["certificates"]
        return found


@pytest.fixture(scope="module")
def places() -> Iterator[int]:
    return count()


@pytest.fixture
def company(issued_home: PreparedHome, places: Iterator[int]) -> Company:
    """A company that no other test has touched."""
    return Company(issued_home, next(places))


def test_the_life_of_a_certificate(company: Company) -> None:
    home, (first, second) = company.home, company.serials
    accepted = home.look("cert", "accept", first).json
    assert (accepted["touched"], accepted["certificates"][0]["state"]) == (1, "good")
    suspended = home.look("cert", "suspend", "--card", company.card, "--ground", "token-lost").json
    assert [one["serial"] for one in suspended["certificates"]] == [first, second]
    assert {one["reason"] for one in suspended["certificates"]} == {"certificateHold"}
    resumed = home.look("cert", "resume", second, "--ground", "subscriber-request").json
    assert resumed["sequence"] == suspended["sequence"] + 1
    revoked = home.look(
        "cert", "revoke", first, "--ground", "key-compromise", "--invalidity-date", "2026-01-01"
    ).json
    (certificate,) = revoked["certificates"]
    assert (certificate["state"], certificate["reason"]) == ("revoked", "keyCompromise")
    shown = {one["serial"]: one for one in company.shown()}
    assert shown[first]["state"] == "revoked"
    assert shown[first]["since"] == certificate["since"]
    assert shown[first]["accepted"]
    assert (shown[second]["state"], shown[second]["holds"]) == ("good", [])
    history = home.look("cert", "history", company.card).json
    assert [(act["verb"], act["certificates"]) for act in history["acts"]] == [
        ("accept", [first]),
        ("suspend", [first, second]),
        ("resume", [second]),
        ("revoke", [first]),
    ]


@pytest.mark.cps("4.4.9")
def test_the_life_of_an_entity(company: Company) -> None:
    home, number = company.home, company.identifier
    home.look("cert", "suspend", company.serials[0], "--ground", "own-judgement")
    paper = ("--document", "經授商字第1號", "--on-behalf-of", "臺北市商業處")
    suspended = home.look("entity", "suspend", number, "--ground", "business-suspended", *paper).json
    assert (suspended["touched"], suspended["origin"]) == (2, "authority")
    holds = company.shown()[0]["holds"]
    assert isinstance(holds, list)
    assert [(hold["origin"], hold["on_behalf_of"]) for hold in holds] == [
        ("subscriber", None),
        ("authority", "臺北市商業處"),
    ]
    home.look("entity", "resume", number, "--ground", "cause-gone", *paper)
    assert [one["state"] for one in company.shown()] == ["held", "good"]
    revoked = home.look("entity", "revoke", number, "--ground", "entity-ended", *paper).json
    assert revoked["touched"] == 2


def test_exit_codes_tell_what_to_do(company: Company) -> None:
    home, serial = company.home, company.serials[0]
    unknown = home.look("cert", "revoke", serial, "--ground", "because", code=3).error
    assert (unknown["error"], unknown["value"]) == ("InputRejected", "because")
    assert "key-compromise, not-needed" in unknown["rule"]
    home.look("cert", "revoke", serial, "--ground", "not-needed")
    again = home.look("cert", "revoke", serial, "--ground", "not-needed", code=13).error
    assert (again["error"], again["place"]) == ("StatusConflict", f"certificate {serial}")
    for subject in ((), (serial, "--card", company.card)):
        said = home.look("cert", "suspend", *subject, "--ground", "token-lost", code=3).error
        assert said["rule"] == "SERIAL or --card or --file"
    assert home.look("entity", "suspend", code=3).error["rule"] == "統一編號 or --file"
    home.look("cert", "suspend", serial, "--ground", "token-lost", "--origin", "nobody", code=2)


def test_a_file_with_failures_is_incomplete(company: Company, tmp_path: Path) -> None:
    home, path = company.home, tmp_path / "acts.csv"
    path.write_text(f"card,ground\n{company.card},\nnone,\n{company.card},because\n")
    report = home.look("cert", "revoke", "--file", path, "--ground", "not-needed", code=20).json
    assert (report["acts"], report["touched"], report["failed"]) == (1, 2, 2)
    assert [one["serial"] for one in report["certificates"]] == company.serials
    assert [(failure["row"], failure["field"]) for failure in report["failures"]] == [
        (2, "subject"),
        (3, "ground"),
    ]
    path.write_text(f"identifier\n{company.identifier}\n")
    paper = ("--ground", "entity-ended", "--document", "1")
    refused = home.look("entity", "revoke", "--file", path, *paper, code=20).json
    assert "revoked already" in refused["failures"][0]["message"]


def test_the_rule_of_eighteen_months_has_nothing_to_do_yet(company: Company) -> None:
    answer = company.home.look("cert", "suspend-unaccepted").json
    assert answer["touched"] == 0


def test_what_people_are_told(company: Company, tmp_path: Path) -> None:
    def said(*arguments: object, code: int = 0) -> str:
        answer = run_here(*arguments, "--home", company.home.path)
        assert answer.code == code, answer.err
        return answer.out

    (first, second) = company.serials
    assert "suspend, 1 touched" in said("cert", "suspend", first, "--ground", "token-lost")
    history = said("cert", "history", first)
    for word in (first, "certificateHold", "token-lost", "subscriber"):
        assert word in history
    path = tmp_path / "acts.jsonl"
    path.write_text(f'{{"serial": "{second}"}}\n{{"serial": "12"}}\n')
    told = said("cert", "revoke", "--file", path, "--ground", "not-needed", code=20)
    for word in ("1 acts done", "1 rows failed", "not a serial number"):
        assert word in told
    assert "held" in said("cert", "show", company.identifier)
