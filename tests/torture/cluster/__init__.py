"""The torture of a cluster: three routers on three NATS servers, any of which is killed or stands still; `run` is it.

`cluster` has the processes, `faults` does it to them, `logs` reads what the routers say of themselves.
"""
