"""The simulation: a whole router in one thread, where one seed is one history. `python -m tests.simulation --seed 1`.

```
   story ──> peers, publishers ──> links ──> router (every actor, on `schedule`) ──> disk
     │                               │          │                                      │
     └── what anybody does next      └ cut,     └ any actor fails, before or after     └ late, refuses, loses what it
         is drawn from the seed        stall      any message; the whole process dies    had written and not told of
```

The actors, rooms, supervisors, outboxes and codecs are the product's. What stands outside (sockets, the event log, the
clock, the order of turns) is simulated and does what real ones may do, at the worst moment. At the end the checker
reads what publishers and subscribers saw, and the judge holds it against what the log committed.
"""
