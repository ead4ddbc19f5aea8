"""Certificates of the authority itself: root, CA, OCSP, audit, operations, development card centre.

Few, so speed does not matter; but they go the same way as all others: built by template, checked before signing.
"""

from __future__ import annotations

from engine.x509.certificate_profile import AuthorityProfile
from engine.x509.issuer import Issuer
from engine.x509.names import authority_subject_der
from engine.x509.tbs_certificate import compile_template
from engine.x509.tbs_check import CheckedTbs, compile_check
from engine.x509.validity import Validity


def authority_tbs(
    profile: AuthorityProfile, issuer: Issuer, validity: Validity, serial: bytes, public_key: bytes
) -> CheckedTbs:
    """Build and check the tbsCertificate of one of the authority's own certificates.

    Args:
        profile: from `ProfileSet.authority`.
        issuer: who signs; `Issuer.self_signed` for a root.
        validity: from `validity_for`.
        serial: 16 octets.
        public_key: the SubjectPublicKeyInfo, DER.

    Raises:
        ConfigurationInvalid: profile, issuer and validity do not fit together.
        LintFailed: the result does not have the structure its profile asks for.
    """
    subject = authority_subject_der(profile)
    template = compile_template(profile, issuer, validity, profile.crl_uris)
    check = compile_check(profile, issuer, validity, profile.crl_uris)
    tbs = template.build(serial, subject, public_key)
    return check.check(tbs, serial=serial, subject=subject, public_key=public_key)
