"""pkilint's PKIX certificate lint, run in-process."""

from __future__ import annotations

from functools import cache

from pkilint import loader
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity


@cache
def _validator() -> certificate.PkixCertificateValidatorContainer:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def findings(der: bytes) -> list[str]:
    """What pkilint finds wrong with a certificate, WARNING and worse."""
    document = loader.load_certificate(der, "specimen")
    results = _validator().validate(document.root)
    return [
        f"{finding.finding.code}: {finding.message}"
        for result in results
        for finding in result.finding_descriptions
        if finding.finding.severity <= ValidationFindingSeverity.WARNING
    ]
