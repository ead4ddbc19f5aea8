"""Counting OCSP answers by relying party, never on an answer's way (CPS 2.5.2, 4.4.12)."""
