"""Names of the shipped files that serve where nobody chooses others. Imports nothing: `--help` is quick."""

LANDMARKS = "mobilenetv2"
FINDER = "finder"
EXERCISE = "finger-stretch"
