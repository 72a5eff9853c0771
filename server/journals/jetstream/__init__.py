"""The event log of a cluster, in NATS JetStream."""
