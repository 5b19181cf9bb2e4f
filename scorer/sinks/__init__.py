"""What a publishing job writes to. The app imports none of it."""
