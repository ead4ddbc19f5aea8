"""pkilint's lints of CRLs and OCSP responses, run in-process; `tests.x509.pkix_lint` has the one of certificates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from pkilint import document, loader, pkix, validation
from pkilint.pkix import crl, extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity


@cache
def _crl_validator() -> validation.ValidatorContainer:
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


@cache
def _ocsp_validator() -> validation.ValidatorContainer:
    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )


def crl_findings(der: bytes) -> list[str]:
    """What pkilint finds wrong with the form of a CRL, WARNING and worse; also that it is none."""
    return _findings(_crl_validator(), loader.load_der_crl, der)


def ocsp_findings(der: bytes) -> list[str]:
    """What pkilint finds wrong with the form of an OCSP response, WARNING and worse; also that it is none."""
    return _findings(_ocsp_validator(), loader.load_der_ocsp_response, der)


def _findings(
    validator: validation.ValidatorContainer, load: Callable[[bytes, str], document.Document], der: bytes
) -> list[str]:
    try:
        results = validator.validate(load(der, "answer").root)
    except ValueError as error:
        return [str(error)]
    return [
        f"{finding.finding.code}: {finding.message}"
        for result in results
        for finding in result.finding_descriptions
        if finding.finding.severity <= ValidationFindingSeverity.WARNING
    ]
