"""The HTTP API, for services and operators."""
