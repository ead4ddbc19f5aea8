"""Texts in two languages, section by section: what must be so of every pair."""

from __future__ import annotations

from typing import Any


def keys(table: dict[str, Any]) -> set[str]:
    return {f"{section}.{key}" for section, entries in table.items() for key in entries}


def assert_alike(zh: dict[str, Any], en: dict[str, Any]) -> None:
    """Both have the same keys, and places for the same number of values."""
    assert keys(zh) == keys(en)
    for section, entries in zh.items():
        for key, text in entries.items():
            assert text.count("{}") == en[section][key].count("{}"), (section, key)
