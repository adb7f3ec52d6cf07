"""A file for each command: `add` says what it takes, `run` does it."""
