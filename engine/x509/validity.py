"""When certificates begin and end (RFC 5280 section 4.1.2.5, CPS 6.3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.clock import TAIPEI
from engine.errors import ConfigurationInvalid, InputRejected
from engine.x509.certificate_profile import ExtensionContent, ValidityRules
from engine.x509.periods import Period


@dataclass(frozen=True, slots=True)
class Validity:
    """notBefore and notAfter: aware, UTC, whole seconds."""

    not_before: datetime
    not_after: datetime


def validity_for(
    profile: ExtensionContent,
    now: datetime,
    issuer_not_after: datetime,
    public_key_bits: int = 2048,
    requested: Period | None = None,
) -> Validity:
    """Work out the validity of a certificate issued now.

    The period asked for, or the profile's own, is cut to the caps of CPS 6.3.2.2 and to the issuer's notAfter. Years
    and months are calendar ones in Taipei. Where the profile ends certificates at the end of a day, that is the last
    23:59:59 in Taipei within the period, so that a cap is never passed by hours.

    Args:
        profile: whose rules hold.
        now: the time of issuance, aware.
        issuer_not_after: the end of the CA certificate, aware.
        public_key_bits: size of the subject's key, which has a cap of its own.
        requested: another period than the profile's, as an issuance policy may ask for.

    Raises:
        InputRejected: the CPS names no longest life for keys of this size.
        ConfigurationInvalid: the CA certificate ends before this one would begin.
    """
    rules = profile.validity
    not_before = now.astimezone(TAIPEI).replace(microsecond=0) - timedelta(seconds=rules.backdate_seconds)
    period = min([requested or rules.default, *_caps(rules, public_key_bits)])
    not_after = period.after(not_before)
    if rules.end_of_day:
        not_after = _last_end_of_day(not_after)
    not_after = min(not_after, issuer_not_after.replace(microsecond=0))
    if not_after <= not_before:
        raise ConfigurationInvalid(
            "the issuer's certificate has ended",
            place=f"validity of {profile.name}",
            value=issuer_not_after.isoformat(),
            rule="notAfter is never past the CA's",
        )
    return Validity(not_before.astimezone(UTC), not_after.astimezone(UTC))


def _caps(rules: ValidityRules, bits: int) -> list[Period]:
    caps = [] if rules.maximum is None else [rules.maximum]
    if rules.maximum_by_key_size:
        if bits not in rules.maximum_by_key_size:
            raise InputRejected(
                "no longest life is known for keys of this size",
                place="public key",
                value=bits,
                rule="CPS 6.3.2.2: RSA-1024 5 years, RSA-2048 10 years",
            )
        caps.append(rules.maximum_by_key_size[bits])
    return caps


def _last_end_of_day(moment: datetime) -> datetime:
    """The last 23:59:59 that is not after `moment`, in its own time zone."""
    midnight_after = (moment + timedelta(seconds=1)).replace(hour=0, minute=0, second=0)
    return midnight_after - timedelta(seconds=1)
