"""Conditions of a request: whether the caller has what we would send (RFC 9110 section 13)."""

from __future__ import annotations

import re

from responders.http_times import epoch_of

_ENTITY_TAG = re.compile(rb'(?:W/)?"([^"]*)"')


def names_tag(if_none_match: bytes, tag: bytes) -> bool:
    """Return whether the field's value names an entity tag.

    Args:
        if_none_match: the value: `*`, or a list of strong and weak tags.
        tag: ours, without quotes. The comparison is the weak one, as section 13.1.2 asks.
    """
    return if_none_match.strip() == b"*" or tag in _ENTITY_TAG.findall(if_none_match)


def has_current(
    if_none_match: str | None, if_modified_since: str | None, etag: bytes, last_modified: int
) -> bool:
    """Return whether the caller of a GET or HEAD has what we would send (RFC 9110 section 13.2.2).

    Args:
        if_none_match: the value of If-None-Match; where there is one, the date does not count.
        if_modified_since: the value of If-Modified-Since.
        etag: ours, without quotes.
        last_modified: ours, seconds since the epoch.
    """
    if if_none_match is not None:
        return names_tag(if_none_match.encode("latin-1", "replace"), etag)
    since = epoch_of(if_modified_since) if if_modified_since is not None else None
    return since is not None and last_modified <= since
