"""Which files hold the readings of a window: by the tokens of READINGS_PATH, or by the log of a Delta table."""
