"""Model files read as data: nothing that stands in them is called."""
