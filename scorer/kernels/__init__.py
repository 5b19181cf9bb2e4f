"""The arithmetic of many models at once. Numbers only: no files, no ids."""
