"""The feed: what is published, signed on the CA host and verified on a public host, which has no other way to it."""
