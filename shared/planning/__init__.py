"""Which windows are due, and how a fleet is split into chunks."""
