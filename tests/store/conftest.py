"""The store that these tests write to."""

from tests.store_fixture import migrated_file, store

__all__ = ["migrated_file", "store"]
