"""If-None-Match: whether the caller has what we would send (RFC 9110 section 13.1.2)."""

from __future__ import annotations

import re

_ENTITY_TAG = re.compile(rb'(?:W/)?"([^"]*)"')


def names_tag(if_none_match: bytes, tag: bytes) -> bool:
    """Return whether the field's value names an entity tag.

    Args:
        if_none_match: the value: `*`, or a list of strong and weak tags.
        tag: ours, without quotes. The comparison is the weak one, as section 13.1.2 asks.
    """
    return if_none_match.strip() == b"*" or tag in _ENTITY_TAG.findall(if_none_match)
