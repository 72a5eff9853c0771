"""The soak: many minutes of churn, chaos, slow clients and pauses; after each round everything must be as before.

`python -m tests.soak`. `run` is the script; `chaos` says what happens in a round, `nuisance` are the clients that do
no good, `looks` looks at the router's process from outside and inside, `supervision` reads what its supervisors did.
"""
