"""Azure Batch as a cluster: a job for each run, a task for each chunk's attempt."""
