"""The scopes of CRLs: which certificates a series of CRL numbers covers, who signs it, and where it is published.

Every partition of a CA key has its CRL. Beside them stands the complete CRL of the key: without an
issuingDistributionPoint it covers the issuer's name (RFC 5280 section 5.2.5), so it lists the revocations of every key
of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from sqlalchemy import Connection

from engine.authority.role_certificates import Authority
from engine.errors import ConfigurationInvalid
from engine.pkcs11.keys import KeyReference
from engine.status.crl_files import delta_uri_of, uri_path_of
from engine.store.crls import COMPLETE, Partition, Scope, add_scope, all_scopes, partitions_in_use
from engine.store.database import Store
from engine.x509.issuer import Issuer


@dataclass(frozen=True, slots=True)
class CrlIssuer:
    """A CA key that is at hand.

    Attributes:
        issuer: its name, identifier and algorithm.
        public_key: its SubjectPublicKeyInfo, DER.
        key: its name in the token.
        not_before: when its certificate begins, in seconds since the epoch: nothing it signed can expire before.
    """

    issuer: Issuer
    public_key: bytes
    key: KeyReference
    not_before: int


def crl_issuers(authority: Authority) -> dict[bytes, CrlIssuer]:
    """Return the CA keys at hand by their key identifiers. Old keys will join here: they sign their CRLs on."""
    ca = authority.ca
    not_before = x509.load_der_x509_certificate(ca.certificate).not_valid_before_utc
    issuer = CrlIssuer(authority.issuer, ca.public_key, ca.key, int(not_before.timestamp()))
    return {authority.issuer.key_identifier: issuer}


@dataclass(frozen=True, slots=True)
class CrlScope:
    """A scope with what it covers.

    Attributes:
        row: as the record has it.
        issuer: who signs its CRLs.
        name: `complete`, or the partition's number.
        partitions: the partitions whose entries it lists.
        uris: where it is published; the first is the one that issuingDistributionPoint and freshestCRL come from.
        not_before: nothing it covers can have expired before; seconds since the epoch.
    """

    row: Scope
    issuer: CrlIssuer
    name: str
    partitions: tuple[int, ...]
    uris: tuple[str, ...]
    not_before: int

    @property
    def is_complete(self) -> bool:
        """Whether it covers the issuer's name instead of a partition."""
        return self.row.partition_id == COMPLETE


def missing_scopes(connection: Connection) -> list[tuple[bytes, int, str]]:
    """Return the scopes that should be and are not: key identifier, partition (or COMPLETE), and URI.

    They come into being with the first certificate of a partition, so that its URI leads to a CRL from then on.
    """
    there = {(scope.issuer_key_identifier, scope.partition_id) for scope in all_scopes(connection)}
    missing = {
        (partition.issuer_key_identifier, partition_id): uri
        for partition in reversed(
            partitions_in_use(connection)
        )  # the complete CRL's URI is that of the first one
        for partition_id, uri in ((partition.id, partition.uri), (COMPLETE, partition.complete_uri))
    }
    return sorted((*scope, uri) for scope, uri in missing.items() if scope not in there)


def add_missing_scopes(store: Store) -> None:
    """Give every partition in which certificates exist its scope, and every CA key that of its complete CRL.

    Raises:
        StoreError: the record refused.
    """
    with store.read() as connection:
        if not missing_scopes(connection):
            return
    with store.write() as connection:
        for key_identifier, partition_id, uri in missing_scopes(connection):
            add_scope(connection, key_identifier, partition_id, uri)


def scope_name(row: Scope, partitions: Mapping[int, Partition]) -> str:
    """Return how people name a scope: `complete`, or the partition's number."""
    return "complete" if row.partition_id == COMPLETE else str(partitions[row.partition_id].number)


def describe_scope(connection: Connection, row: Scope, issuers: Mapping[bytes, CrlIssuer]) -> CrlScope:
    """Find out what a scope covers.

    Args:
        connection: a snapshot.
        row: the scope as it stands there.
        issuers: the CA keys at hand.

    Raises:
        ConfigurationInvalid: a CA key of the scope is not at hand, or the URI of another scope has the same path.
    """
    partitions = partitions_in_use(connection)
    uris = scope_uris(row, partitions)
    _check_paths(uris, row, all_scopes(connection), partitions)
    covered = _covered(row, partitions, issuers)
    return CrlScope(
        row,
        _at_hand(row.issuer_key_identifier, issuers),
        scope_name(row, {partition.id: partition for partition in partitions}),
        tuple(sorted(partition.id for partition in covered)),
        uris,
        min(_at_hand(partition.issuer_key_identifier, issuers).not_before for partition in covered),
    )


def _covered(row: Scope, partitions: list[Partition], issuers: Mapping[bytes, CrlIssuer]) -> list[Partition]:
    if row.partition_id != COMPLETE:
        return [partition for partition in partitions if partition.id == row.partition_id]
    name = _at_hand(row.issuer_key_identifier, issuers).issuer.name
    return [
        partition
        for partition in partitions
        if _at_hand(partition.issuer_key_identifier, issuers).issuer.name == name
    ]


def _at_hand(key_identifier: bytes, issuers: Mapping[bytes, CrlIssuer]) -> CrlIssuer:
    issuer = issuers.get(key_identifier)
    if issuer is None:
        raise ConfigurationInvalid(
            "certificates were issued under a CA key that is not at hand, so its CRLs cannot be made",
            place="CA keys",
            value=key_identifier.hex(),
            rule="CPS 4.7: a CA key signs its CRLs as long as its certificates live",
        )
    return issuer


def scope_uris(row: Scope, partitions: list[Partition]) -> tuple[str, ...]:
    """Return where the certificates in a scope say its CRL is; profiles may have changed the complete one's URI once.

    Args:
        row: the scope.
        partitions: all that are in use.
    """
    if row.partition_id != COMPLETE:
        return (row.uri,)
    own = (p.complete_uri for p in partitions if p.issuer_key_identifier == row.issuer_key_identifier)
    return tuple(dict.fromkeys((row.uri, *own)))


def _check_paths(uris: tuple[str, ...], row: Scope, scopes: list[Scope], partitions: list[Partition]) -> None:
    taken: set[str] = set()
    for scope in scopes:
        if scope.id != row.id:
            with suppress(ConfigurationInvalid):  # that one has no files, and says so itself
                taken |= _paths(scope_uris(scope, partitions))
    for path in _paths(uris) & taken:
        raise ConfigurationInvalid(
            "two CRL scopes would be one file",
            place="URI of a CRL",
            value=path,
            rule="the paths of all CRL URIs differ",
        )


def _paths(uris: Iterable[str]) -> set[str]:
    return {uri_path_of(uri) for full in uris for uri in (full, delta_uri_of(full))}
