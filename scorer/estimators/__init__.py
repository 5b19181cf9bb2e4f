"""Models scored by their own library. Imported only in the sandbox, and by the command `convert`."""
