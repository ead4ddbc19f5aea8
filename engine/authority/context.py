"""What every act of the authority needs, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from engine.authority.role_certificates import Authority
from engine.clock import Clock
from engine.config import Configuration
from engine.home import Home
from engine.store.database import Store


@dataclass(frozen=True, slots=True)
class AuthorityContext:
    """What every act of the authority needs.

    Attributes:
        home: where it keeps its files.
        configuration: its settings.
        store: the open record.
        clock: tells the time of certificates, answers and records.
        authority: its certificates and keys.
        actor: who acts, for the audit log.
    """

    home: Home
    configuration: Configuration
    store: Store
    clock: Clock
    authority: Authority
    actor: str
