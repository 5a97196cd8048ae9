"""One program for all commands: `jetclass --help`."""
