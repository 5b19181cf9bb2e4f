"""What models said, as the table that consumers read."""
