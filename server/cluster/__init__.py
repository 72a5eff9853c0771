"""The cluster: what lets several routers serve the same rooms, over NATS."""
