"""The forms that files of readings have: how each is unpacked, and read."""
