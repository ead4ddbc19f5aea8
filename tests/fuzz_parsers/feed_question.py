"""Questions to the feed (`engine/feed/question.py`)."""

from __future__ import annotations

from engine.errors import InputRejected
from engine.feed.piece import PieceKind
from engine.feed.question import Question, question_from


def seeds() -> list[bytes]:
    return [
        Question(kind=PieceKind.HEAD, challenge="0" * 32, known="ab" * 32, wait=30).octets(),
        Question(kind=PieceKind.CRL, challenge="1" * 32, after=300, digest="cd" * 32).octets(),
        Question(kind=PieceKind.STATUS, challenge="2" * 32, after=7, mark="ef" * 16).octets(),
    ]


def attempt(octets: bytes) -> bool:
    try:
        question = question_from(octets)
    except InputRejected as error:
        assert str(error)
        return False
    assert question_from(question.octets()) == question
    return True
