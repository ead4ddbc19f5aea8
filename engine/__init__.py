"""sealmint: a certificate issuance and status engine.

Six floors; a room uses only rooms below it, and neighbours on a floor do not know each other
(docs/architecture.md; held by tests/test_architecture.py)::

    6  cli
    5  issuance
    4  audit
    3  register   x509   pkcs11   store
    2  config
    1  errors   clock   algorithms   metrics
"""
