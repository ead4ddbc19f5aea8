"""The exchange with the card centre (CPS 1.3.3): orders out, card numbers and public keys in, certificates back.

Each file is JSON lines in a directory of its own, under a signed manifest.
"""
