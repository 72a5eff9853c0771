"""Fuzzing: any bytes into each decoder, each connection and each socket; nothing but what is documented comes out.

`python -m tests.fuzz` mutates with coverage in view (atheris); `make test` replays the seeds, and lets hypothesis try.
"""
