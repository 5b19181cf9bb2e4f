"""A fleet's events, as Event Hubs Capture files them, and the app that scores them: `make stream`."""
