"""The torture of the durable log: publishers, subscribers that drop, and a router that is killed; then the checker.

`python -m tests.torture`. `run` is the script; `service` publishes, `subscriber` follows, `faults` kills the `router`
and fills the `disk`. The clients are written by hand: the product's own are not the judges of the product.
"""
