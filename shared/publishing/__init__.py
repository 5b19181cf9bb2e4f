"""What becomes of the runs at each sink, and of the sink's job. Pure."""
