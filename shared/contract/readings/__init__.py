"""How readings are named in storage."""
