"""Where the readings of a window are, for the app and for nodes. Pure: names only."""
