"""Copies of the record and of a home: made while it works, put back, tried out."""
