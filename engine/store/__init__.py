"""The record: what was planned, reserved, signed and failed (SQLAlchemy Core)."""
