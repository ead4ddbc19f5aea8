"""The county or special municipality (直轄市、縣、市) that an address or an agency's name begins with."""

from __future__ import annotations

import re

# fmt: off
_TODAY = (
    "臺北市", "新北市", "桃園市", "臺中市", "臺南市", "高雄市", "基隆市", "新竹市", "嘉義市", "新竹縣", "苗栗縣",
    "彰化縣", "南投縣", "雲林縣", "嘉義縣", "屏東縣", "宜蘭縣", "花蓮縣", "臺東縣", "澎湖縣", "金門縣", "連江縣",
)
# fmt: on

_UNTIL_2010_2014 = {
    "臺北縣": "新北市",
    "臺中縣": "臺中市",
    "臺南縣": "臺南市",
    "高雄縣": "高雄市",
    "桃園縣": "桃園市",
}
"""Counties merged into or made special municipalities on 2010-12-25, Taoyuan on 2014-12-25; old addresses keep them."""

_COUNTY_SEATS = {
    "竹北市": "新竹縣",
    "苗栗市": "苗栗縣",
    "頭份市": "苗栗縣",
    "彰化市": "彰化縣",
    "員林市": "彰化縣",
    "南投市": "南投縣",
    "斗六市": "雲林縣",
    "太保市": "嘉義縣",
    "朴子市": "嘉義縣",
    "屏東市": "屏東縣",
    "宜蘭市": "宜蘭縣",
    "花蓮市": "花蓮縣",
    "臺東市": "臺東縣",
    "馬公市": "澎湖縣",
}
"""County-administered cities (縣轄市): addresses that leave the county out begin with these."""

_SHORT = {"北市": "臺北市", "高市": "高雄市"}
"""Short forms seen in the sample extract."""

_COUNTIES = {**{name: name for name in _TODAY}, **_UNTIL_2010_2014, **_COUNTY_SEATS}
_VARIANTS = str.maketrans(
    {"台": "臺", "巿": "市"}
)  # U+5DFF is a look-alike of U+5E02, seen in real addresses
_LEADING = re.compile(
    r"[\s\d()（）\-－]*"
    r"(?:中華民國)?(?:[臺台]灣省?(?=..[縣市巿])|福建省)?"
    r"(?:(?:新竹|[臺台][中南]|[中南]部)科學(?:工業)?園區)?"
)
"""Before the county may stand: a postal code, country and province, a science park (some span two counties)."""


def county_of(text: str) -> str | None:
    """Find the county at the beginning of an address (Company_Location) or an agency's name (Agency_Desc).

    Args:
        text: an address, an agency or a county, with 台 or 臺, perhaps behind a postal code.

    Returns:
        The county's present official name, or None when the text does not begin with one.
    """
    leading = _LEADING.match(text)
    start = leading.end() if leading is not None else 0
    beginning = text[start : start + 3].translate(_VARIANTS)
    return _COUNTIES.get(beginning) or _SHORT.get(beginning[:2])
