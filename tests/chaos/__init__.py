"""Rounds in which processes of a home are killed or their token fails, and which are judged from outside."""
