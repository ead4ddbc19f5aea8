"""pyhanko-certvalidator: judges OCSP responses and CRLs that it is given; it fetches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, RevokedError, ValidationError
from pyhanko_certvalidator.policy_decl import (
    CertRevTrustPolicy,
    RevocationCheckingPolicy,
    RevocationCheckingRule,
)

from tests.judges.chain import Chain
from tests.judges.verdict import Verdict, Word, reason_named, refused


def ask(chain: Chain, responses: Sequence[bytes]) -> Verdict:
    """Judge a certificate by OCSP responses. It takes `unknown` for no answer."""
    return _judge(chain, RevocationCheckingRule.OCSP_REQUIRED, responses, [])


def ask_crl(chain: Chain, crls: Sequence[bytes]) -> Verdict:
    """Judge a certificate by CRLs, complete and delta ones; it heeds their scope."""
    return _judge(chain, RevocationCheckingRule.CRL_REQUIRED, [], crls)


def _judge(
    chain: Chain, rule: RevocationCheckingRule, responses: Sequence[bytes], crls: Sequence[bytes]
) -> Verdict:
    policy = RevocationCheckingPolicy(rule, RevocationCheckingRule.NO_CHECK)
    try:
        context = ValidationContext(
            trust_roots=[_parsed(chain.root)],
            ocsps=list(responses),
            crls=list(crls),
            revinfo_policy=CertRevTrustPolicy(policy),
        )
        validator = CertificateValidator(_parsed(chain.certificate), [_parsed(chain.issuer)], context)
        asyncio.run(validator.async_validate_path())
    except RevokedError as error:
        return Verdict(Word.REVOKED, reason_named(error.reason.native), str(error))
    except (ValidationError, PathBuildingError, ValueError) as error:
        return refused(str(error))
    return Verdict(Word.GOOD)


def _parsed(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
