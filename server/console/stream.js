// One room as this page follows it: what the client hands over in, the last events and whoever looks at them out.

import { ClientClosed, CommandTimeout, ConnectionEnded } from "/postroom.js";
import { Ring } from "./ring.js";

const MOST_EVENTS = 300;

/** "attached", "event" and "revoked" tell of changes. */
export class Stream extends EventTarget {
  events = new Ring(MOST_EVENTS); // events, and {gap: text} where some are missing
  state = null;
  revoked = null; // why the router ended it, or did not begin it
  watchers = 0;
  joinedAt = null; // the offset at which it was joined first: what comes later is news
  #history;
  #client = null; // the one that it is followed with
  #subscription = null;
  #listening = new AbortController();
  #own = false; // whether everybody is in the room: it is not left

  constructor(room, history) {
    super();
    this.room = room;
    this.#history = history;
  }

  /** Follow the room with this client, which is connected; a second time does nothing. */
  async follow(client) {
    if (this.#client === client) return;
    this.#client = client;
    this.revoked = null;
    this.events.items = [];
    try {
      this.#own = client.rooms.includes(this.room);
      const wish = { history: this.#history, gaps: "report" };
      this.#listen(this.#own ? client.joined(this.room, wish) : await client.subscribe(this.room, wish));
      if (this.#own) this.#earlier((await client.history(this.room, { limit: this.#history })).events);
    } catch (error) {
      if (this.#client !== client) return;
      if (error instanceof CommandTimeout) this.#client = null; // it is tried again with the next connection
      else this.#revoke(error);
    }
  }

  /** Nobody watches it any more. */
  stop() {
    this.#listening.abort();
    if (!this.#own) this.#subscription?.unsubscribe().catch(() => {});
  }

  #listen(subscription) {
    this.#listening.abort();
    this.#listening = new AbortController();
    this.#subscription = subscription;
    if (this.watchers === 0) return this.stop();
    const { signal } = this.#listening;
    const hear = (type, listener) => subscription.addEventListener(type, listener, { signal });
    hear("attached", () => this.#attached());
    hear("gap", ({ detail }) => this.events.push({ gap: words(detail) }));
    hear("ended", () => subscription.error && this.#revoke(subscription.error));
    hear("event", ({ detail }) => {
      this.events.push(detail);
      this.dispatchEvent(new MessageEvent("event", { data: detail }));
    });
    this.#attached();
  }

  #attached() {
    this.joinedAt ??= this.#subscription.statePosition.offset;
    this.state = this.#subscription.state ?? this.state;
    this.dispatchEvent(new Event("attached"));
  }

  /** Take in events from before those that are here. */
  #earlier(events) {
    const first = this.events.items.find((each) => each.offset !== undefined)?.offset ?? Infinity;
    const older = events.filter((each) => each.offset < first);
    this.events.items = [...older, ...this.events.items].slice(-MOST_EVENTS);
    for (const message of older) this.dispatchEvent(new MessageEvent("event", { data: message }));
  }

  #revoke(error) {
    if (error instanceof ConnectionEnded || error instanceof ClientClosed) return; // which the page says itself
    this.revoked = error.reason ?? error.message;
    this.dispatchEvent(new Event("revoked"));
  }
}

/** What is missing, in words. */
function words({ reason, missing, next }) {
  if (reason === "new_epoch") return "the room's history began anew";
  if (reason === "expired") return `events ${missing.from} to ${missing.to} have left the history`;
  return `something before event ${next.offset + 1} never came`;
}
