"""Commands at a desk: folders of models and readings, and files that are converted."""
