"""Power cuts: real journals on a disk that forgets what was not synced, cut off at any change and opened again.

`python -m tests.torture.power`. `run` is the script; each `life` of a journal runs in a process of its own, in which
the shim (`shim.c`, `preload`) writes down every change to the journal's folder and ends the process at its `moment`.
From that `disk` makes what is left. `witness` turns what the journal said into records for the checker.
"""
