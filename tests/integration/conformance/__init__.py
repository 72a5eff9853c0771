"""WebSocket conformance (RFC 6455, RFC 7692), in raw bytes on a real socket: a file for each topic of the standards.

The router echoes no text, but it answers a `ping` message with its `id`, which may be any text: that is the echo. What
`tests/integration/test_frames.py` and `test_compression.py` show is not shown again here.
"""
