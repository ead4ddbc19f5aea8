"""The token is restarted, or away, while everything is at work: nobody does anything, and nothing is lost."""
