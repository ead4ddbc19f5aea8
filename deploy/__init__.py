"""Setting up and showing sealmint."""
