"""A window's readings, from files to arrays: the rows of a device side by side, in order of time."""
