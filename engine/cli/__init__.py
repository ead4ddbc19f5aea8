"""The command line: `sealmint`."""
