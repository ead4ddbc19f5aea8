"""Object identifiers of attribute types, extensions and extended key usages, by the names their standards use."""

from __future__ import annotations

from types import MappingProxyType

ATTRIBUTE_TYPES = MappingProxyType(
    {  # X.520; RFC 5280 appendix A.1
        "CN": "2.5.4.3",
        "serialNumber": "2.5.4.5",
        "C": "2.5.4.6",
        "L": "2.5.4.7",
        "O": "2.5.4.10",
        "OU": "2.5.4.11",
    }
)

EXTENSIONS = MappingProxyType(
    {  # RFC 5280 section 4.2; id-pkix-ocsp-nocheck: RFC 6960 section 4.2.2.2.1
        "subjectDirectoryAttributes": "2.5.29.9",
        "subjectKeyIdentifier": "2.5.29.14",
        "keyUsage": "2.5.29.15",
        "subjectAltName": "2.5.29.17",
        "basicConstraints": "2.5.29.19",
        "cRLDistributionPoints": "2.5.29.31",
        "certificatePolicies": "2.5.29.32",
        "authorityKeyIdentifier": "2.5.29.35",
        "extKeyUsage": "2.5.29.37",
        "authorityInfoAccess": "1.3.6.1.5.5.7.1.1",
        "ocspNoCheck": "1.3.6.1.5.5.7.48.1.5",
    }
)

ACCESS_METHOD_OCSP = "1.3.6.1.5.5.7.48.1"  # RFC 5280 section 4.2.2.1
ACCESS_METHOD_CA_ISSUERS = "1.3.6.1.5.5.7.48.2"

EXTENDED_KEY_USAGES = MappingProxyType({"OCSPSigning": "1.3.6.1.5.5.7.3.9"})  # RFC 6960 section 4.2.2.2

KEY_USAGE_BITS = MappingProxyType(
    {  # RFC 5280 section 4.2.1.3
        "digitalSignature": 0,
        "nonRepudiation": 1,
        "keyEncipherment": 2,
        "dataEncipherment": 3,
        "keyAgreement": 4,
        "keyCertSign": 5,
        "cRLSign": 6,
    }
)
