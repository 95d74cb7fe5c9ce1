"""What crosses the wires: message and answer models, enums, VIN and time types. Imports nothing of ours."""
