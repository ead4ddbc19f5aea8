"""One certificate profile, resolved: what the code below the file format sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.periods import Period
from engine.x509.profile_file import AuthorityName, ExtensionRule, SerialNumberSource


@dataclass(frozen=True, slots=True)
class SubjectAttribute:
    """One attribute of a subject's name, in its place.

    Attributes:
        name: C, O, OU, L or serialNumber.
        registrants: the registrants whose name has it; None means all.
    """

    name: str
    registrants: frozenset[Kind] | None


@dataclass(frozen=True, slots=True)
class DirectoryValue:
    """One attribute of subjectDirectoryAttributes.

    Attributes:
        type: the attribute type, dotted.
        syntax: "object-identifier", "printable" or "utf8".
        value: the text or dotted identifier; None stands for the uniform number of each subject.
    """

    type: str
    syntax: str
    value: str | None


@dataclass(frozen=True, slots=True)
class ValidityRules:
    """How long a certificate lasts, and the least that caps it.

    Attributes:
        default: the period if nothing shorter or longer is asked for.
        maximum: the longest period allowed whatever the key (ONE_STOP, SETUP); None for no such cap.
        maximum_by_key_size: the longest period by key size in bits; empty when keys are not limited by it.
        end_of_day: whether it ends at 23:59:59 in Taipei.
        backdate_seconds: how long before now notBefore lies.
    """

    default: Period
    maximum: Period | None
    maximum_by_key_size: Mapping[int, Period] = field(hash=False)
    end_of_day: bool
    backdate_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionContent:
    """The extensions of a profile, in order, and the values they take from it; shared by both kinds of profile."""

    name: str
    extensions: tuple[ExtensionRule, ...]
    key_usage: tuple[str, ...]
    policy: str | None
    ca_issuers: str | None
    ocsp: str | None
    validity: ValidityRules
    directory_attributes: tuple[DirectoryValue, ...] = ()
    extended_key_usage: tuple[str, ...] = ()
    path_length: int | None = None

    @property
    def has_uniform_number(self) -> bool:
        """Whether a certificate carries the uniform number of its subject."""
        return any(attribute.value is None for attribute in self.directory_attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateProfile(ExtensionContent):
    """The profile of subscriber certificates of one kind, usage, rank and carrier (CPS 1.3.5.1, 3.1.4, 6.1.9)."""

    kind: Kind
    usage: Usage
    rank: Rank
    carrier: Carrier
    country: str
    subject: tuple[SubjectAttribute, ...]
    registrants: frozenset[Kind]
    serial_number_source: SerialNumberSource


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityProfile(ExtensionContent):
    """The profile of a certificate of the authority itself.

    Attributes:
        issuer: the authority that signs it; its own name for a root.
        subject: attribute names and values, in order.
        crl_uris: the cRLDistributionPoints, one point each.
    """

    issuer: AuthorityName
    subject: tuple[tuple[str, str], ...]
    crl_uris: tuple[str, ...]
