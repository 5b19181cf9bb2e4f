"""Readings as JSON: documents with objects in objects, arrays and envelopes, to flat columns."""
