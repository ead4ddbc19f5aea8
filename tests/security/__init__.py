"""What processes and files give away: modes, core files, secrets where none belongs."""
