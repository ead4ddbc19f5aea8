"""The commercial register: reading its extracts, the rules for one row, merging and eligibility.

``readers.read_register`` turns a file into rows and rejects, ``merge.merge_rows`` folds several rows for one
number, ``eligibility.judge`` holds a row against a policy. Nothing here knows of certificates.
"""
