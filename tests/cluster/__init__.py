"""Several routers over real NATS servers."""
