"""Checks of an estimator before it scores: native code trusts its attributes."""
