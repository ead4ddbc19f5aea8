"""What a token does with how many sessions, and what that is enough for."""
