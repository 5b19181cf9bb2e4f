"""A window's readings from files to arrays, a device's rows side by side, in order of time."""
