"""One specimen of every kind, with what the CPS wants in it written out by hand, and the judges' certificate of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from pyasn1.codec.der.encoder import encode
from pyasn1.type import char, univ
from pyasn1_alt_modules import rfc5280

from engine.algorithms import SignatureAlgorithm
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.issuer import Issuer
from engine.x509.names import SubjectFields
from engine.x509.profiles import CertificateProfile, load_profiles
from engine.x509.validity import Validity

PROFILES = load_profiles()
PARTITION = 40
SERIAL = bytes.fromhex("41aabbccddeeff00112233445566778899")[:16]
VALIDITY = Validity(
    datetime(2026, 11, 23, 2, 3, 4, tzinfo=UTC), datetime(2031, 11, 22, 15, 59, 59, tzinfo=UTC)
)
CA_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "行政院"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "工商憑證管理中心"),
    ]
)
CA_NOT_AFTER = datetime(2046, 1, 1, tzinfo=UTC)

CLASS_2, CLASS_3 = "2.16.886.101.0.3.2", "2.16.886.101.0.3.3"


@dataclass(frozen=True)
class Specimen:
    """What to issue, and the name and attributes that must come out."""

    kind: Kind
    fields: SubjectFields
    name: tuple[tuple[x509.ObjectIdentifier, str], ...]
    policy: str = CLASS_3

    @property
    def uniform_number(self) -> str | None:
        return self.fields.uniform_number


C, L, O, OU, SN = (  # noqa: E741 - the attribute types as everybody writes them
    NameOID.COUNTRY_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.SERIAL_NUMBER,
)


def _fields(
    organization: str,
    number: str | None = "70759028",
    registrant: Kind | None = None,
    *,
    unit: str | None = None,
    county: str | None = None,
) -> SubjectFields:
    return SubjectFields(organization, unit, county, "20261123000042", number, registrant)


COMPANY, BUSINESS, PARTNERSHIP = "測試股份有限公司", "測試商行", "測試有限合夥"
SPECIMENS = [
    Specimen(Kind.COMPANY, _fields(COMPANY), ((C, "TW"), (O, COMPANY), (SN, "20261123000042"))),
    Specimen(
        Kind.BRANCH,
        _fields(COMPANY, unit="台中分公司"),
        ((C, "TW"), (O, COMPANY), (SN, "20261123000042"), (OU, "台中分公司")),
    ),
    Specimen(
        Kind.BUSINESS,
        _fields(BUSINESS, county="臺中市"),
        ((C, "TW"), (L, "臺中市"), (O, BUSINESS), (SN, "20261123000042")),
    ),
    Specimen(Kind.LIMITED_PARTNERSHIP, _fields(PARTNERSHIP), ((C, "TW"), (O, PARTNERSHIP))),
    Specimen(
        Kind.LIMITED_PARTNERSHIP_BRANCH,
        _fields(PARTNERSHIP, unit="高雄分支機構"),
        ((C, "TW"), (O, PARTNERSHIP), (OU, "高雄分支機構")),
    ),
    Specimen(
        Kind.ONE_STOP,
        _fields(COMPANY, registrant=Kind.COMPANY, county="臺北市"),
        ((C, "TW"), (O, COMPANY), (SN, "20261123000042")),
    ),
    Specimen(
        Kind.ONE_STOP,
        _fields(BUSINESS, registrant=Kind.BUSINESS, county="臺中市"),
        ((C, "TW"), (L, "臺中市"), (O, BUSINESS), (SN, "20261123000042")),
    ),
    Specimen(
        Kind.ONE_STOP,
        _fields(PARTNERSHIP, registrant=Kind.LIMITED_PARTNERSHIP, county="臺中市"),
        ((C, "TW"), (O, PARTNERSHIP)),
    ),
    Specimen(
        Kind.SETUP,
        _fields("籌備股份有限公司", number=None, registrant=Kind.COMPANY),
        ((C, "TW"), (O, "籌備股份有限公司"), (SN, "20261123000042")),
        policy=CLASS_2,
    ),
]

SUBJECT_TYPES = {
    Kind.COMPANY: "2.16.886.1.100.3.2.2.1.1",
    Kind.BRANCH: "2.16.886.1.100.3.2.3.3.1",
    Kind.BUSINESS: "2.16.886.1.100.3.2.3.1",
}
RANKS = {Rank.PRIMARY: "primary", Rank.SECONDARY: "secondary"}

CASES = [
    (specimen, profile)
    for specimen in SPECIMENS
    for profile in PROFILES.certificates()
    if profile.kind is specimen.kind
]


def case_name(value: object) -> str | None:
    if isinstance(value, CertificateProfile):
        return value.name
    if isinstance(value, Specimen):
        return value.fields.registrant_kind.value if value.fields.registrant_kind else "-"
    return None


@cache
def ca_key() -> rsa.RSAPrivateKey:
    """A throwaway CA key for the tests of one session."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def subject_spki() -> bytes:
    """A throwaway subscriber key."""
    return spki_of(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def spki_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@cache
def issuer() -> Issuer:
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key().public_key()).digest
    return Issuer(CA_NAME.public_bytes(), identifier, CA_NOT_AFTER, SignatureAlgorithm.RSA_PKCS1_SHA256)


def sign(tbs: bytes) -> bytes:
    return ca_key().sign(tbs, padding.PKCS1v15(), hashes.SHA256())


def directory_attributes(specimen: Specimen, profile: CertificateProfile) -> bytes:
    """subjectDirectoryAttributes, encoded by pyasn1."""
    subject_type = SUBJECT_TYPES.get(specimen.kind) or placeholder_of(profile)
    values = [("2.16.886.1.100.2.1", univ.ObjectIdentifier(subject_type))]
    if profile.rank is not Rank.NONE:
        values.append(("2.16.886.1.100.2.2", char.PrintableString(RANKS[profile.rank])))
    if specimen.uniform_number is not None:
        values.append(("2.16.886.1.100.2.101", char.UTF8String(specimen.uniform_number)))
    attributes = rfc5280.SubjectDirectoryAttributes()
    for oid, value in values:
        attribute = rfc5280.Attribute()
        attribute["type"] = univ.ObjectIdentifier(oid)
        attribute["values"].append(encode(value))
        attributes.append(attribute)
    encoded: bytes = encode(attributes)
    return encoded


def placeholder_of(profile: CertificateProfile) -> str:
    """The stand-in for a subjectType that nobody outside knows; only its arc can be demanded."""
    value = profile.directory_attributes[0].value
    assert value is not None
    assert value.startswith("2.25.")
    return value


def by_certificate_builder(
    specimen: Specimen, profile: CertificateProfile, email: str | None = None
) -> x509.Certificate:
    """The certificate that pyca's builder makes from the demands of the CPS and the seen layout."""
    signature = profile.usage is Usage.SIGNATURE
    uri = x509.UniformResourceIdentifier
    key = load_der_public_key(subject_spki())
    assert isinstance(key, rsa.RSAPublicKey)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key().public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        AuthorityInformationAccessOID.CA_ISSUERS,
                        uri("http://moeaca.nat.gov.tw/repository/Certs/IssuedToThisCA.p7b"),
                    ),
                    x509.AccessDescription(
                        AuthorityInformationAccessOID.OCSP,
                        uri("http://moeaca.nat.gov.tw/cgi-bin/OCSP2/ocsp_server.exe"),
                    ),
                ]
            ),
            False,
        ),
        (
            x509.KeyUsage(
                digital_signature=signature,
                content_commitment=False,
                key_encipherment=not signature,
                data_encipherment=not signature,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
        (
            x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(specimen.policy), None)]),
            False,
        ),
    ]
    if email is not None:
        extensions.append((x509.SubjectAlternativeName([x509.RFC822Name(email)]), False))
    extensions += [
        (
            x509.UnrecognizedExtension(
                x509.ObjectIdentifier("2.5.29.9"), directory_attributes(specimen, profile)
            ),
            False,
        ),
        (
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint([uri(address)], None, None, None)
                    for address in (
                        "http://moeaca.nat.gov.tw/repository/MOEACA/CRL2/CRL_0040.crl",
                        "http://moeaca.nat.gov.tw/repository/MOEACA/CRL2/complete.crl",
                    )
                ]
            ),
            False,
        ),
    ]
    builder = x509.CertificateBuilder(
        issuer_name=CA_NAME,
        subject_name=x509.Name([x509.NameAttribute(oid, value) for oid, value in specimen.name]),
        public_key=key,
        serial_number=int.from_bytes(SERIAL, "big"),
        not_valid_before=VALIDITY.not_before,
        not_valid_after=VALIDITY.not_after,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(ca_key(), hashes.SHA256())


COMPANY_PRIMARY = PROFILES.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.PRIMARY, Carrier.IC_CARD)
