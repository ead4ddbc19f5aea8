"""Judges a home by its files, its database and what it serves. Shares no code with what made them."""
