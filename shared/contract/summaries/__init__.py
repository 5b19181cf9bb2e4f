"""What a report says in summary of a chunk's rows, and a run of all of them. Pure."""
