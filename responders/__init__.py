"""The faces towards relying parties: OCSP, CRLs and CA certificates over HTTP."""
