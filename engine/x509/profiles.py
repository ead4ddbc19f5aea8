"""Certificate profiles: what a certificate of a kind, usage and rank must contain.

Data, read once at start from a TOML file and checked there (`profile_file`); code after that sees only the frozen
classes below. The shipped set is the CPS's.
"""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from engine.errors import ConfigurationInvalid, InputRejected
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.certificate_profile import (
    AuthorityProfile,
    CertificateProfile,
    DirectoryValue,
    ExtensionContent,
    SubjectAttribute,
    ValidityRules,
)
from engine.x509.profile_file import (
    AuthorityName,
    AuthorityTable,
    KindTable,
    ProfileFile,
)
from engine.x509.public_keys import PublicKeyRules

__all__ = ["AuthorityProfile", "CertificateProfile", "ExtensionContent", "ProfileSet", "load_profiles"]

SHIPPED = Path(__file__).parent / "shipped" / "moeaca-2.3.toml"
"""The profiles of the CPS; a site that needs others copies this file."""


_DIRECTORY_SYNTAX = MappingProxyType(
    {  # seen in a company certificate (70759028); carrier: a choice
        "subject-type": "object-identifier",
        "rank": "printable",
        "carrier": "printable",
        "uniform-number": "utf8",
    }
)


class ProfileSet:
    """All profiles of one file.

    Args:
        file: the checked file.
    """

    def __init__(self, file: ProfileFile) -> None:
        self._file = file
        self.name = file.name

    def certificate(
        self, kind: Kind, usage: Usage, rank: Rank, carrier: Carrier = Carrier.IC_CARD
    ) -> CertificateProfile:
        """Return the profile of subscriber certificates of this kind, usage, rank and carrier.

        Raises:
            InputRejected: the CPS has no such certificate (CPS 1.1, 1.3.5.1).
        """
        profile = self._certificates.get((kind, usage, rank, carrier))
        if profile is None:
            raise InputRejected(
                "there is no such certificate",
                place=f"profiles {self.name}",
                value="/".join((kind.value, usage.value, rank.value, carrier.value)),
                rule="CPS 1.1 and 1.3.5.1: kinds with their usages, ranks and carriers",
            )
        return profile

    def certificates(self) -> tuple[CertificateProfile, ...]:
        """Return every profile of subscriber certificates."""
        return tuple(self._certificates.values())

    def authority(self, name: AuthorityName) -> AuthorityProfile:
        """Return the profile of a certificate of the authority itself.

        Raises:
            ConfigurationInvalid: the file has no such profile.
        """
        table = self._file.authorities.get(name)
        if table is None:
            raise ConfigurationInvalid(
                "no such profile", place=f"profiles {self.name}", value=f"authorities.{name}"
            )
        return _authority(name, table)

    def crl_uris(self, partition: int) -> tuple[str, str]:
        """Return the two distribution points of a certificate: its partition's CRL and the complete one."""
        urls = self._file.urls
        return urls.partition_crl.format(partition=partition), urls.complete_crl

    @property
    def public_key_rules(self) -> PublicKeyRules:
        """Which subscriber keys are taken (CPS 6.1.5)."""
        keys = self._file.public_keys
        return PublicKeyRules(frozenset(keys.sizes), keys.allow_1024, keys.fermat_rounds)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The kinds whose subjectType is a placeholder: not to be issued in earnest before the real one is known."""
        return tuple(
            kind.value
            for kind, table in self._file.kinds.items()
            if table.subject_type.source == "placeholder"
        )

    @cached_property
    def _certificates(self) -> dict[tuple[Kind, Usage, Rank, Carrier], CertificateProfile]:
        return {
            (kind, usage, rank, carrier): self._certificate(kind, table, usage, rank, carrier)
            for kind, table in self._file.kinds.items()
            for usage in table.usages
            for rank in table.ranks
            for carrier, ranks in self._file.carriers.items()
            if rank in ranks
        }

    def _certificate(
        self, kind: Kind, table: KindTable, usage: Usage, rank: Rank, carrier: Carrier
    ) -> CertificateProfile:
        file = self._file
        return CertificateProfile(
            name=f"{kind.value}/{usage.value}/{rank.value}/{carrier.value}",
            kind=kind,
            usage=usage,
            rank=rank,
            carrier=carrier,
            country=file.country,
            subject=_subject(table),
            registrants=frozenset(table.registrants),
            serial_number_source=file.subject_serial_number if table.uniform_number else "subscriber-number",
            extensions=tuple(file.extensions),
            key_usage=tuple(file.usages[usage].key_usage),
            policy=table.policy,
            ca_issuers=file.urls.ca_issuers,
            ocsp=file.urls.ocsp,
            directory_attributes=self._directory_attributes(table, rank, carrier),
            validity=ValidityRules(
                default=table.default_validity or file.validity.default,
                maximum=table.maximum_validity,
                maximum_by_key_size=MappingProxyType(file.validity.maximum),
                end_of_day=file.validity.end_of_day,
                backdate_seconds=file.validity.backdate_seconds,
            ),
        )

    def _directory_attributes(
        self, table: KindTable, rank: Rank, carrier: Carrier
    ) -> tuple[DirectoryValue, ...]:
        values: dict[str, str | None] = {"subject-type": table.subject_type.oid}
        if rank is not Rank.NONE:
            values["rank"] = rank.value
        if carrier is not Carrier.IC_CARD:
            values["carrier"] = carrier.value
        if table.uniform_number:
            values["uniform-number"] = None
        return tuple(
            DirectoryValue(attribute.type, _DIRECTORY_SYNTAX[attribute.value], values[attribute.value])
            for attribute in self._file.subject_directory_attributes
            if attribute.value in values
        )


def _subject(table: KindTable) -> tuple[SubjectAttribute, ...]:
    only_for = {name: frozenset(kinds) for name, kinds in table.subject_only_for.items()}
    return tuple(SubjectAttribute(name, only_for.get(name)) for name in table.subject)


def _authority(name: AuthorityName, table: AuthorityTable) -> AuthorityProfile:
    return AuthorityProfile(
        name=name,
        issuer=table.issuer,
        subject=tuple(table.subject),
        extensions=tuple(table.extensions),
        key_usage=tuple(table.key_usage),
        extended_key_usage=tuple(table.extended_key_usage),
        policy=table.policy,
        path_length=table.path_length,
        ca_issuers=table.ca_issuers,
        ocsp=table.ocsp,
        crl_uris=tuple(table.crls),
        validity=ValidityRules(
            table.validity, None, MappingProxyType({}), end_of_day=False, backdate_seconds=0
        ),
    )


def load_profiles(path: Path | None = None) -> ProfileSet:
    """Load and check a profile file.

    Args:
        path: the file; None for the shipped set of the CPS.

    Raises:
        ConfigurationInvalid: the file cannot be read, is not TOML, has an unknown or missing key, or contradicts
            itself.
    """
    path = path or SHIPPED
    try:
        return ProfileSet(ProfileFile.model_validate(tomllib.loads(path.read_text("utf-8"))))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationInvalid(
            f"cannot read the profiles: {error}", place=str(path), rule="TOML 1.0, UTF-8"
        ) from error
    except ValidationError as error:
        raise _invalid(path, error) from error


def _invalid(path: Path, error: ValidationError) -> ConfigurationInvalid:
    first, *more = error.errors(include_url=False)
    key = ".".join(map(str, first["loc"])) or "(the whole file)"
    value = None if isinstance(first["input"], dict) else first["input"]
    message = "profiles are wrong" + (f", and at {len(more)} more places" if more else "")
    return ConfigurationInvalid(message, place=f"{path}: {key}", value=value, rule=first["msg"])
