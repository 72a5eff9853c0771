"""The checker: reads what publishers and subscribers wrote down, and says where a promise was broken.

It knows nothing of the router: `python -m tests.checker RECORDS...`. `records` says what it reads, `findings` what it
finds; `following` judges one subscriber in one room as its records come, `room` judges a room when all are read.
"""
