// One room as this page follows it: what the router sends about it in, the last events and whoever looks at them out.

import { Chain } from "./chain.js";
import { Ring } from "./ring.js";

const MOST_EVENTS = 300;

export class Stream extends EventTarget {
  constructor(room, history) {
    super();
    this.room = room;
    this.history = history;
    this.chain = new Chain();
    this.events = new Ring(MOST_EVENTS); // events, and {gap: text} where some are missing
    this.state = null;
    this.revoked = null; // why the router ended it, or did not begin it
    this.watchers = 0;
    this.joinedAt = null; // the offset at which it was joined first: what comes later is news
  }

  attach(answer, resumed) {
    this.revoked = null;
    this.joinedAt ??= answer.offset;
    const missing = this.chain.attach(answer, resumed);
    if (missing !== null) this.events.push({ gap: missing });
    if (answer.state) this.state = answer.state;
    this.dispatchEvent(new Event("attached"));
  }

  event(message) {
    const verdict = this.chain.event(message.offset, message.prev);
    if (verdict === "duplicate") return;
    if (verdict === "broken") this.events.push({ gap: `something before event ${message.offset} never came` });
    this.events.push(message);
    this.dispatchEvent(new MessageEvent("event", { data: message }));
  }

  skipped(message) {
    this.chain.skip(message.to);
  }

  /** Take in events from before those that are here. */
  earlier(events) {
    const first = this.events.items.find((each) => each.offset !== undefined)?.offset ?? Infinity;
    const older = events.filter((each) => each.offset < first);
    this.events.items = [...older, ...this.events.items].slice(-MOST_EVENTS);
    for (const message of older) this.dispatchEvent(new MessageEvent("event", { data: message }));
  }

  revoke(reason) {
    this.revoked = reason;
    this.chain = new Chain();
    this.dispatchEvent(new Event("revoked"));
  }
}
