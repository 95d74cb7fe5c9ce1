"""The MQTT worker: broker → decode → pipeline → receipts."""
