"""A vehicle's telematics control unit over real MQTT, and the stories it plays. Imports only schemas of ours."""
