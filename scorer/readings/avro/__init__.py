"""Avro: the files of Event Hubs Capture and of IoT Hub, whose events carry a Body, and plain files of records."""
