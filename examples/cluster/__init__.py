"""Three routers on NATS: one is killed, its client moves over to another, and no event is missing."""
