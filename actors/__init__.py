"""The actor system: rooms, connections, supervision. Knows no socket, no HTTP, no file, no wall clock."""
