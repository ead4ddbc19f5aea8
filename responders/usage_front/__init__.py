"""The spool of a public host, for the CA host to fetch."""
