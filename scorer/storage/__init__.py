"""Blobs and folders, read and written by one client."""
