"""Trees of any library as one form, checked, and packed so that a kernel may walk them."""
