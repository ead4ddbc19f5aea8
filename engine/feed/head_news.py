"""The newest word on how far the CA's record has come."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from engine.errors import FeedRejected
from engine.feed.feed_client import Answer
from engine.feed.listings import Head


class HeadNews(NamedTuple):
    """A HEAD that was verified."""

    head: Head
    mark: str
    """Digest of the entry `head.sequence` of the change feed."""
    asked_at: int
    """Seconds since the epoch, by this host's clock: the record had come so far then or later."""
    asked: float
    """The same by trio's clock."""


def news_from(answer: Answer) -> HeadNews:
    """Read a HEAD.

    Raises:
        FeedRejected: it is none.
    """
    try:
        head = Head.model_validate_json(answer.body)
    except ValidationError as error:
        raise FeedRejected(
            "this is no head of a feed", place="head", rule=str(error.errors()[0]["msg"])
        ) from error
    return HeadNews(head, answer.statement.mark, answer.asked_at, answer.asked)


def is_beyond(news: HeadNews, sequence: int, mark: str, taken: float, place: str) -> bool:
    """Whether there is something that a copy does not have; and that the record went the same way until there.

    Args:
        news: what the CA says.
        sequence: the entry of the change feed that the copy has come to.
        mark: its digest.
        taken: when, by trio's clock, the copy was brought there.
        place: the copy, for errors.

    Raises:
        FeedRejected: the record stands before the copy, or its entry there is another one.
    """
    if news.asked < taken and news.head.sequence <= sequence:
        return False  # it was on its way while the copy was brought further
    if news.head.sequence < sequence:
        raise FeedRejected(
            "the CA's record stands before what this host has; if that is meant: feed pull --from-nothing",
            place=place,
            value=news.head.sequence,
            rule=f"not before entry {sequence}",
        )
    if news.head.sequence == sequence and news.mark != mark:
        raise FeedRejected(
            "the CA's record is not the one that this host has; if that is meant: feed pull --from-nothing",
            place=place,
            value=news.mark,
            rule=f"entry {sequence} with the mark {mark or 'of nothing'}",
        )
    return news.head.sequence > sequence
