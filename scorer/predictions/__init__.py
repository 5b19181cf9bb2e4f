"""Predictions of models, as the table that consumers read."""
