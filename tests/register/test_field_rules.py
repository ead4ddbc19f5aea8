"""Numbers, dates, names and counties, one value at a time."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputRejected
from engine.register.business_number import is_business_number
from engine.register.county import county_of
from engine.register.names import clean_name
from engine.register.roc_date import parse_roc_date
from tests.register.extracts import scripted


@pytest.mark.parametrize(
    "number",
    [
        "22099131",  # a listed company
        "04595257",  # divisible by 10: the rule before 2023-04-01
        "04595252",  # divisible by 5 only: the rule since
        "10458575",  # 7th digit 7: as it stands
        "10458574",  # 7th digit 7: one more
        "10458570",
    ],
)
def test_right_business_numbers(number: str) -> None:
    assert is_business_number(number)


@pytest.mark.parametrize(
    "number",
    [
        "22099132",
        "10458573",
        "04595253",
        "2209913",
        "220991310",
        "2209913a",
        "２２０９９１３１",
        "²2099131",
        "",
        "        ",
    ],
)
def test_wrong_business_numbers(number: str) -> None:
    assert not is_business_number(number)


@scripted
@given(st.from_regex(r"[0-9]{7}", fullmatch=True))
def test_two_of_ten_check_digits_are_right_and_four_behind_a_7(first_seven: str) -> None:
    right = sum(is_business_number(first_seven + digit) for digit in "0123456789")
    assert right == (4 if first_seven[6] == "7" else 2)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("0760221", date(1987, 2, 21)),
        ("0010101", date(1912, 1, 1)),
        ("1130229", date(2024, 2, 29)),
        ("", None),
        ("       ", None),
        ("\u3000", None),
    ],
)
def test_roc_dates(text: str, day: date | None) -> None:
    assert parse_roc_date(text) == day


@pytest.mark.parametrize(
    "text",
    [
        "760221",
        "1120229",
        "0761301",
        "0760200",
        "0000101",
        "1987-02-21",
        "19870221",
        "０７６０２２１",
        "-760221",
    ],
)
def test_wrong_roc_dates_say_value_and_rule(text: str) -> None:
    with pytest.raises(InputRejected, match="YYYMMDD") as raised:
        parse_roc_date(text)
    assert raised.value.value == text


@scripted
@given(st.dates(min_value=date(1912, 1, 1), max_value=date(2910, 12, 31)))
def test_days_follow_each_other_as_in_the_calendar(day: date) -> None:
    def written(moment: date) -> str:
        return f"{moment.year - 1911:03}{moment:%m%d}"

    following = parse_roc_date(written(day + timedelta(days=1)))
    assert following == day + timedelta(days=1)
    assert parse_roc_date(written(day)) == day


@pytest.mark.cps("3.1.4")
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("臺灣水泥股份有限公司", "臺灣水泥股份有限公司"),
        ("𠮷野家股份有限公司", "𠮷野家股份有限公司"),  # outside the BMP
        ("&#x20BB7;野家", "𠮷野家"),
        ("&#134071;野家", "𠮷野家"),
        ("A&amp;B商行", "A&B商行"),
        ("&amp;#32;", "&#32;"),  # decoded once
        ("R&D;股份有限公司", "R&D;股份有限公司"),  # no reference
        ("\u3000臺灣水泥\u3000\u3000", "臺灣水泥"),
        ("臺灣\u3000水泥", "臺灣\u3000水泥"),
        ("臺灣\u3000\u3000水泥", "臺灣\u3000水泥"),
        ("ABC  Co", "ABC Co"),
        ("\uf900電", "\uf900電"),  # a compatibility ideograph: NFC would make it U+8C48
        ("\ue001記", "\ue001記"),  # a private-use character of the register
        ("       ", ""),
    ],
)
def test_names_are_kept_as_registered(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("臺灣\n水泥", "control"),
        ("臺灣\x00水泥", "control"),
        ("臺灣&#10;水泥", "control"),
        ("臺灣\x85水泥", "control"),
        ("臺灣水泥\t", "control"),
        ("臺灣\u200b水泥", "formatting"),
        ("臺灣\u202e水泥", "formatting"),
        ("臺灣\ud842水泥", "surrogate"),
        ("臺灣&#xD842;水泥", "surrogate"),
        ("臺灣\u2028水泥", "line separator"),
        ("臺灣\ufffd水泥", "replacement"),
        ("臺灣\uffff水泥", "noncharacter"),
        ("臺灣&#x110000;水泥", "no character"),
    ],
)
def test_names_with_what_no_name_contains_are_refused(text: str, fault: str) -> None:
    with pytest.raises(InputRejected, match=fault):
        clean_name(text)


@scripted
@given(st.text())
def test_a_cleaned_name_is_clean(text: str) -> None:
    try:
        name = clean_name(text)
    except InputRejected:
        return
    assert name.encode().decode() == name
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name)
    assert name == name.strip(" \u3000\u00a0")
    if "&" not in text:
        assert clean_name(name) == name


@pytest.mark.cps("3.1.4")
@pytest.mark.parametrize(
    ("text", "county"),
    [
        ("台北市中山北路2段113號", "臺北市"),
        ("臺北市商業處", "臺北市"),
        ("南投縣政府", "南投縣"),
        ("(104)台北市松江路", "臺北市"),
        ("10491臺北巿松江路", "臺北市"),
        ("台灣省台北縣板橋市", "新北市"),
        ("臺灣臺中市西區", "臺中市"),
        ("新竹科學園區新竹縣寶山鄉園區三路99號", "新竹縣"),
        ("彰化市彰鹿路", "彰化縣"),
        ("北市中山區", "臺北市"),
        ("連江縣南竿鄉", "連江縣"),
        ("新竹科學園區創新二路2號", None),  # in Hsinchu City or Hsinchu County
        ("板橋區民生路", None),
        ("", None),
    ],
)
def test_counties(text: str, county: str | None) -> None:
    assert county_of(text) == county
