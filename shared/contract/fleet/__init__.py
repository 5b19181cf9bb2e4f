"""A listing of blobs -> the models of a fleet, and the files that are none."""
