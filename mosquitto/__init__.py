"""The broker's configuration and the development certificate authority that its mutual TLS rests on."""
