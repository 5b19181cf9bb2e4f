"""The only rooms that import a cloud. Each implements a port of `shared.ports` and never imports control."""
