"""The only packages of the app that import a cloud. Each adapter implements a port and never imports control."""
