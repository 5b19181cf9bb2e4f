"""Azure Machine Learning as a cluster: command jobs."""
