"""A public host's copy of what the CA publishes: the certificate index and the publications."""
