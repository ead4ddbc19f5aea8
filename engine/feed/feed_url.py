"""Where a feed is."""

from __future__ import annotations

import re

from engine.errors import ConfigurationInvalid

_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]+/?")


def checked_url(url: str) -> str:
    """Return the URL of a feed without a slash at its end.

    Raises:
        ConfigurationInvalid: it is not `https://host:port`.
    """
    if _URL.fullmatch(url) is None:
        raise ConfigurationInvalid(
            "this is no URL of a feed", place="feed.url, --from", value=url, rule="https://host:port"
        )
    return url.rstrip("/")
