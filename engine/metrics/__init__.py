"""What a process counts: its spending while it works, and what monitoring reads from outside."""
