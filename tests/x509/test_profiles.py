"""The profile file: what the shipped one offers, and that a wrong one is refused with place and rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ConfigurationInvalid, InputRejected
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.names import subject_der
from engine.x509.profiles import SHIPPED, load_profiles
from tests.x509.specimens import SPECIMENS

PROFILES = load_profiles()
CARD_KINDS = (
    Kind.COMPANY,
    Kind.BRANCH,
    Kind.BUSINESS,
    Kind.LIMITED_PARTNERSHIP,
    Kind.LIMITED_PARTNERSHIP_BRANCH,
)


@pytest.mark.cps("1.1")
@pytest.mark.cps("1.3.5.1")
def test_the_cps_has_these_certificates_and_no_others() -> None:
    on_card = {
        (kind, usage, rank, carrier)
        for kind in CARD_KINDS
        for usage in Usage
        for rank, carrier in (
            (Rank.PRIMARY, Carrier.IC_CARD),
            (Rank.SECONDARY, Carrier.IC_CARD),
            (Rank.SECONDARY, Carrier.OTHER_MODULE),
        )
    }
    signature_only = {
        (kind, Usage.SIGNATURE, rank, carrier)
        for kind, rank in ((Kind.ONE_STOP, Rank.SECONDARY), (Kind.SETUP, Rank.NONE))
        for carrier in Carrier
    }
    offered = {(p.kind, p.usage, p.rank, p.carrier) for p in PROFILES.certificates()}
    assert offered == on_card | signature_only


@pytest.mark.cps("1.1")
@pytest.mark.parametrize(
    ("kind", "usage", "rank"),
    [
        (Kind.ONE_STOP, Usage.ENCRYPTION, Rank.SECONDARY),
        (Kind.SETUP, Usage.ENCRYPTION, Rank.NONE),
        (Kind.SETUP, Usage.SIGNATURE, Rank.PRIMARY),
        (Kind.COMPANY, Usage.SIGNATURE, Rank.NONE),
    ],
)
def test_a_certificate_that_the_cps_does_not_have_is_rejected(kind: Kind, usage: Usage, rank: Rank) -> None:
    with pytest.raises(InputRejected, match=f"{kind.value}/{usage.value}/{rank.value}"):
        PROFILES.certificate(kind, usage, rank)


def test_what_is_not_known_is_marked() -> None:
    assert set(PROFILES.placeholders) == {
        "limited-partnership",
        "limited-partnership-branch",
        "one-stop",
        "setup",
    }


@pytest.mark.cps("7.1")
def test_no_profile_has_constraints_or_qualifiers() -> None:
    names = {rule.name for profile in PROFILES.certificates() for rule in profile.extensions}
    assert not names & {"nameConstraints", "policyConstraints", "basicConstraints", "extKeyUsage"}


def edited(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the shipped file with some text replaced."""
    text = SHIPPED.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "profiles.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_newer_layout_is_one_option(tmp_path: Path) -> None:
    newer = load_profiles(
        edited(
            tmp_path,
            ('subject_serial_number = "subscriber-number"', 'subject_serial_number = "uniform-number"'),
        )
    )
    company, partnership, setup = SPECIMENS[0].fields, SPECIMENS[3].fields, SPECIMENS[8].fields
    profile = newer.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.PRIMARY)
    assert subject_der(profile, replace(company, subscriber_number=None)).endswith(b"\x13\x0870759028")
    profile = newer.certificate(Kind.LIMITED_PARTNERSHIP, Usage.SIGNATURE, Rank.PRIMARY)
    assert b"\x13\x08" not in subject_der(profile, partnership)
    profile = newer.certificate(Kind.SETUP, Usage.SIGNATURE, Rank.NONE)
    assert subject_der(profile, setup).endswith(b"\x13\x0e20261123000042")


def test_a_mark_of_the_carrier_can_be_configured(tmp_path: Path) -> None:
    line = 'type = "2.16.886.1.100.2.101" # uniformOrganizationID'
    mark = 'type = "2.25.1"\nvalue = "carrier"\n\n[[subject_directory_attributes]]\n'
    marked = load_profiles(edited(tmp_path, (line, mark + line)))
    card = marked.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.SECONDARY)
    other = marked.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.SECONDARY, Carrier.OTHER_MODULE)
    assert [attribute.type for attribute in other.directory_attributes][2] == "2.25.1"
    assert "2.25.1" not in [attribute.type for attribute in card.directory_attributes]


@pytest.mark.parametrize(
    ("changes", "place", "rule"),
    [
        ([('country = "TW"', 'country = "TW"\ncolour = "red"')], "colour", "Extra inputs"),
        ([('name = "moeaca-2.3"', "")], ": name", "Field required"),
        ([('country = "TW"', 'country = "Taiwan"')], ": country", "pattern"),
        ([("allow_1024 = false", "allow_1024 = 0")], "allow_1024", "boolean"),
        ([("[kinds.branch]", "[kinds.office]")], "kinds.office", "company"),
        ([('default = "P5Y"', 'default = "5 years"')], "validity.default", "P5Y or P1M"),
        ([('default = "P5Y"', 'default = "P11Y"')], "whole file", "exceeds the maximum"),
        ([('default_validity = "P1M"', 'default_validity = "P2M"')], "whole file", "kinds.setup"),
        ([("sizes = [2048]", "sizes = [2048, 3072]")], "whole file", "[3072] bits (CPS 6.3.2.2)"),
        ([("sizes = [2048]", "sizes = [1024]")], "whole file", "allow_1024"),
        (
            [('"authorityKeyIdentifier"', '"authorityKeyIdentifier"\ncritical = true')],
            "extensions.0",
            "not be critical",
        ),
        ([('"subjectKeyIdentifier"', '"authorityKeyIdentifier"')], "whole file", "named twice"),
        ([('name = "keyUsage"', 'name = "basicConstraints"')], "whole file", "authorities only"),
        ([('[[extensions]]\nname = "certificatePolicies"\n', "")], "whole file", "certificatePolicies"),
        ([('subject = ["C", "O"]', 'subject = ["C"]')], "kinds.limited-partnership", "names nobody"),
        ([('subject = ["C", "O"]', 'subject = ["C", "O", "O"]')], "kinds.limited-partnership", "named twice"),
        ([('subject = ["C", "O"]', 'subject = ["C", "O", "CN"]')], "kinds.limited-partnership", "CN"),
        ([('L = ["business"]', 'OU = ["business"]')], "kinds.one-stop", "subject_only_for OU"),
        ([('source = "placeholder"', 'source = "said"')], "subject_type", "2.25"),
        ([('source = "seen"', 'source = "placeholder"')], "subject_type", "2.25"),
        ([("CRL_{partition:04d}.crl", "CRL.crl")], "urls", "same URL"),
        ([("{partition:04d}", "{part}")], "urls", "format"),
        ([('policy = "2.16.886.101.0.3.3"', 'policy = "2.16.886.101.0.3.03"')], "policy", "pattern"),
        (
            [('key_usage = ["keyCertSign", "cRLSign"] # CPS 6.1.9', 'key_usage = ["cRLSign"]')],
            "authorities.ca",
            "basicC",
        ),
        ([('extended_key_usage = ["OCSPSigning"]', "")], "authorities.ocsp", "extKeyUsage"),
        ([('issuer = "ca"\n', 'issuer = "operations"\n')], "whole file", "may not sign certificates"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_rule(
    tmp_path: Path, changes: list[tuple[str, str]], place: str, rule: str
) -> None:
    path = edited(tmp_path, *changes)
    with pytest.raises(ConfigurationInvalid) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)
    assert place in str(caught.value)
    assert rule in str(caught.value)


def test_a_file_that_is_absent_or_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"nothing\.toml"):
        load_profiles(tmp_path / "nothing.toml")
    for content in (b"name = ", b"\xff\xfe"):
        (tmp_path / "broken.toml").write_bytes(content)
        with pytest.raises(ConfigurationInvalid, match="cannot read the profiles"):
            load_profiles(tmp_path / "broken.toml")


def test_an_authority_that_the_file_lacks_is_named() -> None:
    with pytest.raises(ConfigurationInvalid, match=r"authorities\.nobody"):
        PROFILES.authority("nobody")  # type: ignore[arg-type]  # a name that is not allowed is the point
