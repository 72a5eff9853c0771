"""Everything that touches the outside: sockets, HTTP, tokens, settings, the command line."""

__version__ = "0.1.0"
