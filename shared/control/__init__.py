"""The loop that acts: it opens runs, submits, commits, records, and cleans up."""
