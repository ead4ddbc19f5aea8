"""The feed's front: it faces public hosts, over TLS. It knows no PIN, no key of the CA's, and not the record."""
