"""Reads server-sent events as the standard says (HTML, section 9.2.6), as far as they are used here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx

MOST_EVENTS = 150
"""Until a wait that hangs is given up: five minutes. Decides nothing but that."""


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Yield the name and the document of every event."""
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def state_when(client: httpx.Client, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Watch until the state is as wanted, and return it."""
    with client.stream("GET", "/events") as response:
        assert response.status_code == 200
        for name, document in islice(events(response), MOST_EVENTS):
            if name == "state" and wanted(document["state"]):
                state: dict[str, Any] = document["state"]
                return state
    raise AssertionError("waited in vain")
