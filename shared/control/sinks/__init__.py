"""The effects of a tick on sinks and on who is notified. They hold up no run."""
