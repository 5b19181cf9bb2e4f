"""Kinds of model that a kernel computes: which numbers of a fitted estimator decide its scores."""
