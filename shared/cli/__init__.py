"""Commands at a desk that need no cloud."""
