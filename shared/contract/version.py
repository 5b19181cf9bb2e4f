"""The version of all that is released together: the app, the scorer, the console script and the wheel."""

VERSION = "0.2.0.dev0"
