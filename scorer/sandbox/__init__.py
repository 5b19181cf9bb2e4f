"""Processes that run a model's own library: no credentials, no files, no sockets, bounded time and memory."""
