"""The examples, each run by its one command, on real routers; their pages in a real browser."""
