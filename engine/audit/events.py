"""The events that are audited, each with its group in CPS 4.5.1."""

from __future__ import annotations

from enum import Enum


class Event(Enum):
    """An audited event; the value is the name in the record, the group is that of CPS 4.5.1."""

    AUDIT_CHECKPOINT_SIGNED = ("audit.checkpoint-signed", 1)
    KEY_GENERATED = ("key.generated", 3)
    KEY_DESTROYED = ("key.destroyed", 3)
    AUTHORITY_CERTIFICATE_RESERVED = ("authority-certificate.reserved", 5)
    AUTHORITY_CERTIFICATE_ISSUED = ("authority-certificate.issued", 5)
    RUN_PLANNED = ("run.planned", 7)
    RUN_STARTED = ("run.started", 7)
    RUN_PAUSE_ASKED = ("run.pause-asked", 7)
    RUN_PAUSED = ("run.paused", 7)
    RUN_ABORT_ASKED = ("run.abort-asked", 7)
    RUN_ABORTED = ("run.aborted", 7)
    RUN_RETRIED = ("run.retried", 7)
    RUN_COMPLETED = ("run.completed", 7)
    UNIT_RESERVED = ("unit.reserved", 7)
    UNIT_COMPLETED = ("unit.completed", 7)
    OPERATIONS_SIGNATURE_INTENDED = ("operations.signature-intended", 7)
    CERTIFICATES_REVOKED = ("certificates.revoked", 8)
    CERTIFICATES_ACCEPTED = ("certificates.accepted", 9)
    CERTIFICATES_SUSPENDED = ("certificates.suspended", 9)
    CERTIFICATES_RESUMED = ("certificates.resumed", 9)
    STATUS_ACT_REFUSED = ("status-act.refused", 9)
    CRL_RESERVED = ("crl.reserved", 14)
    CRL_PUBLISHED = ("crl.published", 14)
    OCSP_BATCH_RESERVED = ("ocsp.batch-reserved", 14)
    OCSP_LIVE_SIGNED = ("ocsp.live-signed", 14)
    FEED_READER_ADMITTED = ("feed.reader-admitted", 5)
    FEED_READER_DISMISSED = ("feed.reader-dismissed", 5)
    FEED_SIGNED = ("feed.signed", 14)
    PUBLICATION_ADDED = ("publication.added", 14)
    PUBLICATION_WITHDRAWN = ("publication.withdrawn", 14)
    USAGE_ACCOUNT_OPENED = ("usage.account-opened", 11)
    USAGE_ACCOUNT_CLOSED = ("usage.account-closed", 11)
    USAGE_COLLECTED = ("usage.collected", 14)
    TOKEN_INITIALISED = ("token.initialised", 14)
    TOKEN_MEASURED = ("token.measured", 14)
    TOKEN_SWEPT = ("token.swept", 14)
    TOKEN_KEY_TESTED = ("token.key-tested", 14)
    POOL_CHANGED = ("pool.changed", 14)
    STORE_MIGRATED = ("store.migrated", 14)
    BACKUP_MADE = ("backup.made", 14)
    WORKER_LOST = ("worker.lost", 17)

    def __init__(self, record_name: str, group: int) -> None:
        self.record_name = record_name
        self.group = group
