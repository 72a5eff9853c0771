// The router's figures over the last five minutes: cumulative counters in, rates out.

import { Ring } from "./ring.js";

const MOST = 300;

const sum = (counts) => Object.values(counts ?? {}).reduce((total, each) => total + each, 0);

export class Stats extends EventTarget {
  constructor() {
    super();
    this.samples = new Ring(MOST); // {at, events, deliveries, lag, latency}: per second, events, milliseconds
    this.now = null; // the last answer of GET /v1/stats
    this.ready = null; // the last answer of GET /readyz
    this.problem = null; // why there is no answer now
    this.#before = null;
  }

  #before;

  take(ready, now) {
    const at = Date.now();
    this.ready = ready;
    this.now = now;
    this.problem = null;
    const events = sum(now.events_in);
    const before = this.#before;
    const seconds = before === null ? 0 : now.uptime_s - before.uptime_s;
    if (before !== null && seconds > 0 && events >= before.events && now.deliveries >= before.deliveries) {
      this.samples.push({
        at,
        events: (events - before.events) / seconds,
        deliveries: (now.deliveries - before.deliveries) / seconds,
        lag: now.lag ?? {},
        latency: now.latency_ms ?? {},
      });
    }
    if (seconds !== 0 || before === null) {
      this.#before = { uptime_s: now.uptime_s, events, deliveries: now.deliveries };
    }
    this.dispatchEvent(new Event("change"));
  }

  fail(problem, ready = null) {
    this.problem = problem;
    this.ready = ready;
    this.#before = null;
    this.dispatchEvent(new Event("change"));
  }
}
