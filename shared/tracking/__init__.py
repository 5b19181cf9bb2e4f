"""What is observed of a run's jobs, and what becomes of its chunks."""
