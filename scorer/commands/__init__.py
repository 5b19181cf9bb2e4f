"""What `python -m scorer` can be asked for, one module a command."""
