"""What app and nodes say to each other about publishing runs to sinks."""
