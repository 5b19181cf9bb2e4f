"""The control loop: it opens runs, submits jobs, commits results, and does maintenance."""
