"""OCSP answers counted by relying party (CPS 4.4.12): accounts, counts, the spool, the monthly report."""
