"""Blob Storage, Table Storage, Resource Manager, and signing in to them."""
