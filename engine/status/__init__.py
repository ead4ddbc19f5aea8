"""Status: holds and revocation, CRLs, OCSP answers signed ahead, and the copy of the status that hosts answer from."""
