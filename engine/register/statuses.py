"""The register's status codes, and what each means for issuing.

Codes and texts: tables of the commercial register's open data (商工登記). Their standing is read from the CPS:
ended entities may hold no certificate (4.2.1.1(2)); direct issuance is for those that really operate (4.2.1.2);
停業 is not eligible in a direct run (choice 22). Where a text leaves doubt the entity counts as not operating:
it lands in the reject report, where a person can see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from engine.errors import InputRejected
from engine.kinds import Kind


class Standing(Enum):
    """What a status means for issuing."""

    IN_FORCE = "in force"
    SUSPENDED = "business suspended (停業)"
    MOVED = "moved to another county: another row speaks for it"
    IN_DOUBT = "registered, but being ended"
    ENDED = "ended: dissolved, annulled, revoked, bankrupt or closed"


@dataclass(frozen=True, slots=True)
class Status:
    """A status of the register; the code is None where only its text is known."""

    code: str | None
    text: str
    standing: Standing


def _table(standing: Standing, texts: dict[str, str]) -> list[Status]:
    return [Status(code, text, standing) for code, text in texts.items()]


_COMPANY = [
    # 03: a company under reorganisation goes on operating under its reorganisers (Company Act 290, 293);
    # 25: one taken over goes on operating under the receiver
    *_table(Standing.IN_FORCE, {"01": "核准設立", "03": "重整", "25": "接管"}),
    # 02: ordered to dissolve, as a rule because it does not operate (Company Act 10);
    # 19-21: a bankruptcy that ended without liquidation; the text does not say that business was resumed
    *_table(
        Standing.IN_DOUBT,
        {"02": "核准設立，但已命令解散", "19": "終止破產", "20": "中止破產", "21": "塗銷破產"},
    ),
    *_table(
        Standing.ENDED,
        {
            "04": "解散",
            "05": "撤銷",
            "06": "破產",
            "07": "合併解散",
            "08": "撤回登記",
            "09": "廢止",
            "10": "廢止認許",
            "11": "解散已清算完結",
            "12": "撤銷已清算完結",
            "13": "廢止已清算完結",
            "14": "撤回登記已清算完結",
            "15": "撤銷登記已清算完結",
            "16": "廢止登記已清算完結",
            "17": "撤銷登記",
            "18": "分割解散",
            "22": "破產程序終結(終止)",
            "23": "破產程序終結(終止)清算中",
            "24": "破產已清算完結",
            "26": "撤銷無需清算",
            "27": "撤銷許可",
            "28": "廢止許可",
            "29": "撤銷許可已清算完結",
            "30": "廢止許可已清算完結",
            "31": "清理",
            "32": "撤銷公司設立",
            "33": "清理完結",
        },
    ),
]

_BUSINESS = [
    *_table(Standing.IN_FORCE, {"01": "核准設立"}),
    *_table(Standing.SUSPENDED, {"02": "停業"}),
    *_table(Standing.MOVED, {"05": "遷他縣市"}),
    *_table(Standing.IN_DOUBT, {"04": "申覆(辯)期", "06": "列入廢止中"}),
    *_table(Standing.ENDED, {"03": "歇業/撤銷", "07": "廢止", "08": "破產", "09": "設立無效"}),
]

_COMPANY_OTHER_TEXTS = {
    "核准登記": "01",
    "核准認許": "01",
    "撤回認許": "08",
    "廢止登記": "10",
    "撤回認許已清算完結": "14",
    "撤銷認許已清算完結": "15",
    "廢止認許已清算完結": "16",
    "撤銷認許": "17",
}
"""Recognition (認許) and registration (登記) of foreign companies share codes; limited partnerships say 核准登記."""

_BUSINESS_OTHER_TEXTS = {"核准登記": "01", "歇業": "03", "撤銷": "03"}

_PUNCTUATION = str.maketrans({"，": ",", "（": "(", "）": ")", "／": "/", " ": None, "\u3000": None})
"""Both widths of punctuation are met in the texts; compared without the difference."""


class _Statuses:
    """The statuses of one part of the register, by code and by text."""

    def __init__(self, statuses: list[Status], other_texts: dict[str, str]) -> None:
        self.by_code = {status.code: status for status in statuses if status.code is not None}
        self.by_text = {status.text.translate(_PUNCTUATION): status for status in statuses}
        self.by_text |= {text: self.by_code[code] for text, code in other_texts.items()}


_COMPANIES = _Statuses(_COMPANY, _COMPANY_OTHER_TEXTS)
_BUSINESSES = _Statuses(_BUSINESS, _BUSINESS_OTHER_TEXTS)
_BRANCHES = _Statuses(
    [
        Status(status.code if status.code == "01" else None, status.text, status.standing)
        for status in _COMPANY
    ],
    {"核准登記": "01", "核准認許": "01"},
)
"""Branches use the companies' texts; of their codes only 01 is known."""

_PARTS = {
    Kind.COMPANY: _COMPANIES,
    Kind.LIMITED_PARTNERSHIP: _COMPANIES,
    Kind.BRANCH: _BRANCHES,
    Kind.LIMITED_PARTNERSHIP_BRANCH: _BRANCHES,
    Kind.BUSINESS: _BUSINESSES,
}


@lru_cache(maxsize=4_096)  # a guess: some hundred combinations are met; bounded because texts are input
def find_status(kind: Kind, code: str | None, text: str) -> Status | None:
    """Find what a row's status means.

    Args:
        kind: which part of the register the row is from.
        code: the status code, None where the row has none.
        text: the status text, empty where the row has none.

    Returns:
        The status, or None when neither code nor text is known.

    Raises:
        InputRejected: both are known and say different things.
    """
    part = _PARTS[kind]
    by_code = part.by_code.get(code) if code is not None else None
    by_text = part.by_text.get(text.translate(_PUNCTUATION))
    if by_code is not None and by_text is not None and by_code is not by_text:
        raise InputRejected(
            "status code and status text contradict each other",
            value=f"{code} {text}",
            rule=f"{code} is {by_code.text}",
        )
    return by_text or by_code


def texts_in_force() -> frozenset[str]:
    """Return the status texts of entities in force: the only ones a policy may name."""
    return frozenset(
        status.text for status in (*_COMPANY, *_BUSINESS) if status.standing is Standing.IN_FORCE
    )
