"""All that the app and the nodes share: values, names, and the documents that they exchange."""
