"""The store into which changes of a pool are recorded."""

from __future__ import annotations

from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store"]
