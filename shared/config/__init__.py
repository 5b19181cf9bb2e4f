"""Settings from the environment, all problems at once."""
