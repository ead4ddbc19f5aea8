"""Policy files: what they say, what is wrong with them, and when a run may work."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import TAIPEI
from engine.errors import ConfigurationInvalid
from engine.issuance.policy import CardRule, Policy, RunWindow, load_policy, policy_from_text
from engine.kinds import Kind, Rank

MINIMAL = """
name = "pilot"
legal_basis = "CPS 4.2.1.2"
[eligibility]
kinds = ["company"]
states = ["核准設立"]
"""

scripted = settings(derandomize=True, deadline=None, max_examples=100)


@pytest.mark.cps("1.3.5.1")
def test_the_shipped_policy_gives_every_company_in_force_one_primary_card() -> None:
    policy = Policy.shipped("all-companies")
    assert policy.eligibility.kinds == {Kind.COMPANY}
    assert "核准設立" in policy.eligibility.states
    assert policy.cards == (CardRule(rank=Rank.PRIMARY, number=1),)
    assert policy.run_windows == ()
    assert policy.rate_cap is None


def test_every_shipped_policy_is_valid_and_bears_the_name_of_its_file() -> None:
    folder = Path(load_policy.__code__.co_filename).parent / "policies"
    names = [path.stem for path in folder.glob("*.toml")]
    assert "all-companies" in names
    assert [Policy.shipped(name).name for name in names] == names


def test_a_policy_that_is_not_shipped_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigurationInvalid, match="all-companies"):
        Policy.shipped("../policy")


def test_a_full_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        """
        name = "north"
        legal_basis = "CPS 4.2.1.2"
        validity = "P1Y6M"
        crl_partition_size = 500
        work_unit_size = 128
        rate_cap = 200
        run_windows = [{ opens = 22:00:00, closes = 06:30:00 }, { opens = "12:00", closes = "13:00" }]
        [eligibility]
        kinds = ["company", "business"]
        states = ["核准設立", "重整"]
        set_up_from = 2020-01-01
        set_up_until = 2020-12-31
        counties = ["台北市", "新北市"]
        capital_from = 1
        capital_until = 1000
        include = ["11913502"]
        exclude = ["03244509"]
        [[cards]]
        rank = "primary"
        [[cards]]
        rank = "secondary"
        number = 3
        """,
        encoding="utf-8",
    )
    policy = load_policy(path)
    assert policy.eligibility.counties == {"臺北市", "新北市"}
    assert policy.eligibility.set_up_until == date(2020, 12, 31)
    assert [(card.rank, card.number) for card in policy.cards] == [(Rank.PRIMARY, 1), (Rank.SECONDARY, 3)]
    assert policy.run_windows[1] == RunWindow(opens=time(12), closes=time(13))
    assert (policy.validity, policy.crl_partition_size, policy.rate_cap) == ("P1Y6M", 500, 200)


def test_text_and_digest_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(MINIMAL.replace("\n", "\r\n").encode())
    policy = load_policy(path)
    assert policy.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert policy_from_text(policy.text) == policy
    assert policy_from_text(policy.text).digest == policy.digest


def test_a_policy_made_without_a_file_has_no_digest() -> None:
    made = Policy.model_validate(policy_from_text(MINIMAL).model_dump())
    with pytest.raises(ConfigurationInvalid, match="does not come from a file"):
        _ = made.digest


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        (f"{MINIMAL}color = 1", "eligibility.color", "not permitted"),
        (f"colour = 1\n{MINIMAL}", "colour", "not permitted"),
        (MINIMAL.replace('name = "pilot"', ""), "name", "required"),
        (MINIMAL.replace('"company"', '"guild"'), "eligibility.kinds.0", "limited-partnership"),
        (MINIMAL.replace('"company"', '"setup"'), "eligibility.kinds.0", "4.1.1.4"),
        (MINIMAL.replace('["company"]', "[]"), "eligibility.kinds", "at least 1"),
        (MINIMAL.replace("核准設立", "解散"), "eligibility.states.0", "4.2.1.1"),
        (f'{MINIMAL}include = ["12345678"]', "eligibility.include.0", "統一編號"),
        (f'{MINIMAL}counties = ["上海市"]', "eligibility.counties.0", "county"),
        (f"{MINIMAL}capital_from = true", "eligibility.capital_from", "integer"),
        (f"{MINIMAL}capital_from = -1", "eligibility.capital_from", "greater than or equal to 0"),
        (f"{MINIMAL}capital_from = 2\ncapital_until = 1", "eligibility", "below"),
        (f"{MINIMAL}set_up_from = 20200101", "eligibility.set_up_from", "date"),
        (f'{MINIMAL}include = ["11913502"]\nexclude = ["11913502"]', "eligibility", "at once"),
        (f"crl_partition_size = 0\n{MINIMAL}", "crl_partition_size", "greater than or equal to 1"),
        (f"rate_cap = 0\n{MINIMAL}", "rate_cap", "greater than or equal to 1"),
        (f'validity = "5 years"\n{MINIMAL}', "validity", "P5Y"),
        (
            f"run_windows = [{{ opens = 06:00:00, closes = 06:00:00 }}]\n{MINIMAL}",
            "run_windows.0",
            "different",
        ),
        (
            f'run_windows = [{{ opens = "06:00Z", closes = "07:00" }}]\n{MINIMAL}',
            "run_windows.0.opens",
            "offset",
        ),
        (f"run_windows = [{{ opens = 25:00:00, closes = 06:00:00 }}]\n{MINIMAL}", "", "TOML"),
        ("name = ", "", "TOML"),
    ],
)
def test_a_wrong_policy_is_refused_naming_file_key_and_rule(
    tmp_path: Path, text: str, key: str, rule: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationInvalid) as raised:
        load_policy(path)
    assert raised.value.place == (f"{path}, key {key}" if key else str(path))
    assert raised.value.rule is not None
    assert rule in raised.value.rule


@pytest.mark.cps("6.3.2.2")
@pytest.mark.parametrize(
    ("validity", "is_allowed"), [("P10Y", True), ("P120M", True), ("P10Y1M", False), ("P11Y", False)]
)
def test_no_policy_asks_for_more_than_ten_years(validity: str, is_allowed: bool) -> None:
    text = f'validity = "{validity}"\n{MINIMAL}'
    if is_allowed:
        assert policy_from_text(text).validity == validity
        return
    with pytest.raises(ConfigurationInvalid, match=r"6\.3\.2\.2"):
        policy_from_text(text)


@pytest.mark.cps("1.3.5.1")
@pytest.mark.parametrize(
    "cards",
    [
        '[[cards]]\nrank = "primary"\nnumber = 2',
        '[[cards]]\nrank = "primary"\n[[cards]]\nrank = "primary"',
        '[[cards]]\nrank = "none"',
        '[[cards]]\nrank = "secondary"\nnumber = 0',
    ],
)
def test_an_entity_gets_one_primary_card_at_most(cards: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="cards"):
        policy_from_text(MINIMAL + cards)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = '\xa5x'"])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationInvalid, match="UTF-8"):
        load_policy(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"absent\.toml"):
        load_policy(tmp_path / "absent.toml")


def taipei(hour: int, minute: int = 0, day: int = 24) -> datetime:
    return datetime(2026, 8, day, hour, minute, tzinfo=TAIPEI)


NIGHT = RunWindow(opens=time(22), closes=time(6))
NOON = RunWindow(opens=time(12), closes=time(13, 30))


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        (NOON, taipei(11, 59), False),
        (NOON, taipei(12), True),
        (NOON, taipei(13, 29), True),
        (NOON, taipei(13, 30), False),
        (NIGHT, taipei(21, 59), False),
        (NIGHT, taipei(22), True),
        (NIGHT, taipei(0), True),
        (NIGHT, taipei(5, 59), True),
        (NIGHT, taipei(6), False),
        (NOON, datetime(2026, 8, 24, 4, 30, tzinfo=UTC), True),
        (NOON, datetime(2026, 8, 24, 12, 30, tzinfo=UTC), False),
    ],
)
def test_windows_are_times_of_day_in_taipei(window: RunWindow, moment: datetime, is_open: bool) -> None:
    assert window.contains(moment) is is_open


@pytest.mark.parametrize(
    ("moment", "opening"),
    [
        (taipei(11), taipei(12)),
        (taipei(14), taipei(22)),
        (taipei(6), taipei(12)),
        (taipei(12, 30), None),
        (taipei(23), None),
    ],
)
def test_the_next_opening_is_that_of_the_window_that_opens_first(
    moment: datetime, opening: datetime | None
) -> None:
    policy = policy_from_text(MINIMAL).model_copy(update={"run_windows": (NIGHT, NOON)})
    assert policy.next_opening(moment) == opening
    assert policy.may_run(moment) is (opening is None)


def test_without_windows_a_run_may_always_work() -> None:
    assert policy_from_text(MINIMAL).next_opening(taipei(3)) is None


def test_after_the_last_window_of_a_day_the_next_opening_is_tomorrow() -> None:
    assert NOON.next_opening(taipei(14)) == taipei(12, day=25)


@scripted
@given(
    opens=st.times(),
    closes=st.times(),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(
        lambda moment: moment.replace(tzinfo=UTC)
    ),
)
def test_a_window_is_open_at_its_opening_and_shut_just_before(
    opens: time, closes: time, moment: datetime
) -> None:
    if opens == closes:
        return
    window = RunWindow(opens=opens, closes=closes)
    opening = window.next_opening(moment)
    assert timedelta(0) <= opening - moment < timedelta(days=1)
    assert window.contains(opening)
    assert not window.contains(opening - timedelta(microseconds=1))
