"""Hostile requests to every HTTP route of both hosts: `python -m tests.fuzz`, and a few of them in the suite."""
