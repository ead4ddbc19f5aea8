"""The form of a profile file (TOML): every key, its type, and what may not contradict what.

`profiles` loads such a file and resolves it; nothing else reads these classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.periods import PeriodField

Oid = Annotated[str, Field(pattern=r"^([01]\.[1-3]?[0-9]|2\.(0|[1-9][0-9]*))(\.(0|[1-9][0-9]*))+$")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[!-~]+$")]
AttributeName = Literal["C", "O", "OU", "L", "serialNumber", "CN"]
ExtensionName = Literal[
    "authorityKeyIdentifier",
    "subjectKeyIdentifier",
    "authorityInfoAccess",
    "keyUsage",
    "extKeyUsage",
    "ocspNoCheck",
    "basicConstraints",
    "certificatePolicies",
    "subjectAltName",
    "subjectDirectoryAttributes",
    "cRLDistributionPoints",
]
KeyUsageName = Literal["digitalSignature", "keyEncipherment", "dataEncipherment", "keyCertSign", "cRLSign"]
AuthorityName = Literal["root", "ca", "ocsp", "audit", "operations", "card-centre"]
SerialNumberSource = Literal["subscriber-number", "uniform-number"]

NEVER_CRITICAL: frozenset[str] = frozenset(
    {  # conforming CAs MUST mark these non-critical: RFC 5280 sections 4.2.1.1, 4.2.1.2, 4.2.1.8, 4.2.2.1
        "authorityKeyIdentifier",
        "subjectKeyIdentifier",
        "subjectDirectoryAttributes",
        "authorityInfoAccess",
    }
)
ALWAYS_PRESENT: frozenset[str] = frozenset(
    {  # RFC 5280 sections 4.2.1.1 and 4.2.1.2; CPS 6.1.9; CPS 7.1.6
        "authorityKeyIdentifier",
        "subjectKeyIdentifier",
        "keyUsage",
        "certificatePolicies",
    }
)
UUID_ARC = "2.25."  # X.667: identifiers anyone may make from a UUID


def _refuse_repeats(what: str, names: Iterable[object]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} named twice: {', '.join(map(str, repeated))}")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExtensionRule(_Table):
    """One extension, at its place in the order, with its criticality."""

    name: ExtensionName
    critical: StrictBool = False

    @model_validator(mode="after")
    def _criticality(self) -> Self:
        if self.critical and self.name in NEVER_CRITICAL:
            raise ValueError(f"{self.name} must not be critical (RFC 5280 section 4.2)")
        return self


class SubjectType(_Table):
    """A value of the GPKI subjectType attribute and how it is known."""

    oid: Oid
    source: Literal["seen", "said", "placeholder"]

    @model_validator(mode="after")
    def _placeholders_are_marked(self) -> Self:
        if (self.source == "placeholder") != self.oid.startswith(UUID_ARC):
            raise ValueError("a placeholder, and nothing else, has an identifier of the arc 2.25 (X.667)")
        return self


class DirectoryAttribute(_Table):
    """One attribute of subjectDirectoryAttributes: its type, and where its value comes from."""

    type: Oid
    value: Literal["subject-type", "rank", "uniform-number", "carrier"]


class Urls(_Table):
    """Where relying parties find CA certificates, OCSP and CRLs."""

    ca_issuers: HttpUrl
    ocsp: HttpUrl
    partition_crl: HttpUrl
    complete_crl: HttpUrl

    @model_validator(mode="after")
    def _partition_is_named(self) -> Self:
        try:
            names = {self.partition_crl.format(partition=number) for number in (0, 1, 9999)}
        except (LookupError, ValueError) as error:
            raise ValueError("partition_crl is not a format of {partition}") from error
        if len(names) < 3:
            raise ValueError("partition_crl gives two partitions the same URL: write {partition:04d} in it")
        return self


class PublicKeys(_Table):
    """Which subscriber keys are taken (CPS 6.1.5)."""

    sizes: list[StrictInt] = Field(min_length=1)
    allow_1024: StrictBool
    fermat_rounds: StrictInt = Field(ge=0, le=100_000)


class ValidityDefaults(_Table):
    """How long certificates last (CPS 6.3.2.2) and at what time of day they end."""

    default: PeriodField
    maximum: dict[int, PeriodField] = Field(description="by size of the key in bits")
    end_of_day: StrictBool
    backdate_seconds: StrictInt = Field(ge=0, le=3600)


class UsageTable(_Table):
    """The keyUsage bits of one usage (CPS 6.1.9)."""

    key_usage: list[KeyUsageName] = Field(min_length=1)


class KindTable(_Table):
    """One certificate kind: its name form, usages, ranks, policy and life."""

    subject: list[AttributeName] = Field(min_length=1)
    subject_only_for: dict[AttributeName, list[Kind]] = {}
    registrants: list[Kind] = []
    usages: list[Usage] = Field(min_length=1)
    ranks: list[Rank] = Field(min_length=1)
    policy: Oid
    subject_type: SubjectType
    uniform_number: StrictBool
    default_validity: PeriodField | None = None
    maximum_validity: PeriodField | None = None

    @model_validator(mode="after")
    def _subject_makes_sense(self) -> Self:
        _refuse_repeats("subject attribute", self.subject)
        if "O" not in self.subject:
            raise ValueError("a subject without O names nobody (CPS 3.1.4)")
        if "CN" in self.subject:
            raise ValueError("no field of the register fills CN (CPS 3.1.4)")
        for name, registrants in self.subject_only_for.items():
            if name not in self.subject or not set(registrants) <= set(self.registrants):
                raise ValueError(
                    f"subject_only_for {name}: not in subject, or for a registrant not in registrants"
                )
        return self


class AuthorityTable(_Table):
    """A certificate of the authority itself: CA, responder, signer of records."""

    issuer: AuthorityName
    subject: list[tuple[AttributeName, str]] = Field(min_length=1)
    key_usage: list[KeyUsageName] = Field(min_length=1)
    extensions: list[ExtensionRule]
    validity: PeriodField
    extended_key_usage: list[Literal["OCSPSigning"]] = []
    policy: Oid | None = None
    path_length: StrictInt | None = Field(default=None, ge=0)
    ca_issuers: HttpUrl | None = None
    ocsp: HttpUrl | None = None
    crls: list[HttpUrl] = []

    @model_validator(mode="after")
    def _values_match_extensions(self) -> Self:
        names = [rule.name for rule in self.extensions]
        _refuse_repeats("extension", names)
        needs = {
            "basicConstraints": "keyCertSign" in self.key_usage,
            "extKeyUsage": bool(self.extended_key_usage),
            "certificatePolicies": self.policy is not None,
            "authorityInfoAccess": self.ca_issuers is not None or self.ocsp is not None,
            "cRLDistributionPoints": bool(self.crls),
            "subjectAltName": False,
            "subjectDirectoryAttributes": False,
        }
        for name, needed in needs.items():
            if (name in names) != needed:
                raise ValueError(f"{name}: the extension and its value go together, or neither is there")
        if self.path_length is not None and "keyCertSign" not in self.key_usage:
            raise ValueError("path_length without keyCertSign (RFC 5280 section 4.2.1.9)")
        return self


class ProfileFile(_Table):
    """A whole profile file."""

    name: str = Field(min_length=1)
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    subject_serial_number: SerialNumberSource
    urls: Urls
    public_keys: PublicKeys
    validity: ValidityDefaults
    extensions: list[ExtensionRule] = Field(min_length=1)
    subject_directory_attributes: list[DirectoryAttribute]
    usages: dict[Usage, UsageTable]
    carriers: dict[Carrier, list[Rank]]
    kinds: dict[Kind, KindTable]
    authorities: dict[AuthorityName, AuthorityTable]

    @model_validator(mode="after")
    def _lists_have_no_repeats(self) -> Self:
        names = [rule.name for rule in self.extensions]
        _refuse_repeats("extension", names)
        _refuse_repeats("attribute", (attribute.type for attribute in self.subject_directory_attributes))
        _refuse_repeats(
            "attribute value", (attribute.value for attribute in self.subject_directory_attributes)
        )
        if foreign := {"basicConstraints", "extKeyUsage", "ocspNoCheck"}.intersection(names):
            raise ValueError(f"extensions of authorities only: {', '.join(sorted(foreign))}")
        if missing := ALWAYS_PRESENT.difference(names):
            raise ValueError(f"extensions missing: {', '.join(sorted(missing))}")
        if ("subjectDirectoryAttributes" in names) != bool(self.subject_directory_attributes):
            raise ValueError("subjectDirectoryAttributes: the extension and its attributes go together")
        return self

    @model_validator(mode="after")
    def _keys_have_a_longest_life(self) -> Self:
        sizes = {*self.public_keys.sizes, *([1024] if self.public_keys.allow_1024 else [])}
        if 1024 in self.public_keys.sizes and not self.public_keys.allow_1024:
            raise ValueError("public_keys: size 1024 needs allow_1024 = true")
        if missing := sizes - self.validity.maximum.keys():
            raise ValueError(
                f"validity.maximum has no entry for keys of {sorted(missing)} bits (CPS 6.3.2.2)"
            )
        return self

    @model_validator(mode="after")
    def _kinds_stay_within_their_caps(self) -> Self:
        longest = max(self.validity.maximum.values())
        for kind, table in self.kinds.items():
            if absent := set(table.usages) - self.usages.keys():
                raise ValueError(f"kinds.{kind.value}: usage {absent.pop().value} has no table")
            default = table.default_validity or self.validity.default
            if default > min(longest, table.maximum_validity or longest):
                raise ValueError(f"kinds.{kind.value}: default validity {default} exceeds the maximum")
        return self

    @model_validator(mode="after")
    def _issuers_exist(self) -> Self:
        for name, table in self.authorities.items():
            issuer = self.authorities.get(table.issuer)
            if issuer is None or "keyCertSign" not in issuer.key_usage:
                raise ValueError(f"authorities.{name}: issuer {table.issuer} may not sign certificates")
        return self
