"""PKCS#11: loading a module, finding a token and its keys, and signing over a pool of sessions.

The only room that imports `pkcs11`. What it raises are the classes of `engine.errors`; which token error leads to
which of them stands in `return_values.py`.
"""
