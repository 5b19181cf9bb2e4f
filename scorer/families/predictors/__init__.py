"""scikit-learn's estimators as steps of a chain: what prepares readings, and what predicts."""
