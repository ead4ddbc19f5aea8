"""A question to the feed: what the process that faces public hosts passes on to the one that reads the record."""

from __future__ import annotations

from typing import Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import InputRejected
from engine.feed.piece import Challenge, Mark, PieceKind, Position

MOST_WAIT_SECONDS = 60
"""How long a question may wait for something new. A guess: proxies cut longer ones off."""

_WITH_DIGEST = frozenset({PieceKind.CRL, PieceKind.PUBLICATION})


class Question(BaseModel):
    """What a public host asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: PieceKind
    challenge: Challenge
    after: Position = 0
    """Where it stands: what comes next is wanted."""
    mark: Mark = ""
    """The digest of the entry of the change feed that it stands at: another one there means another record."""
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the CRL or content that is wanted."""
    known: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the body of the last HEAD: the next is given when it would be another."""
    wait: Annotated[int, Field(ge=0, le=MOST_WAIT_SECONDS)] = 0
    """Seconds to wait for that."""

    @model_validator(mode="after")
    def _digest_where_needed(self) -> Self:
        if (self.kind in _WITH_DIGEST) != bool(self.digest):
            raise ValueError("a digest goes with crl and publication, and with nothing else")
        return self

    def octets(self) -> bytes:
        """Return it as it travels to the process that signs."""
        return orjson.dumps(self.model_dump(mode="json"))


def question_from(octets: bytes) -> Question:
    """Read a question.

    Raises:
        InputRejected: it is none.
    """
    try:
        return Question.model_validate_json(octets)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InputRejected(
            "this is no question to the feed",
            place=".".join(map(str, fault["loc"])) or "question",
            value=str(fault.get("input"))[:80],
            rule=fault["msg"],
        ) from error
