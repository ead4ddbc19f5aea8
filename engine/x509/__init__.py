"""Profiles, names, tbsCertificates and key checks of RFC 5280, as the CPS and the GPKI profile want them."""
