// The JavaScript client of the Postroom event router: one module, for browsers and Node, without dependencies.
//
//   connect() ──> Client (a Link: one WebSocket after the other, hello, heartbeat, back-off) ── Commands
//                   │ answers, events, markers
//                   └── Rooms ── Subscriptions (each a Stream: the chain check, a bounded buffer)
//
// Objects that come from the router have the protocol's names (`event_id`); options and properties are in camelCase.
// What each option is, with its type, stands in postroom.d.ts.

/** The version of this module. */
export const VERSION = "0.1.0";

const NAME = "postroom-client-javascript";
const FLOOR_MS = 500;
const CAP_MS = 20_000;
const WELCOME_MS = 10_000;
const PONG_MS = 10_000;
const CLOSE_MS = 2_000;
const BETWEEN_RENEWALS_MS = 5_000;
const MOST_COMMANDS = 1_000;
const UNAUTHENTICATED = 4401;
const TOKEN_EXPIRED = 4410;
const FINAL = {
  1003: "it got a binary frame",
  1007: "it got text that is not UTF-8",
  1009: "a message was over its limit",
  4009: "an operator closed it",
  4400: "too many bad messages",
  4401: "it does not take the token",
  4410: "the token expired, and `token` is no function that renews it",
};
const WHY_MS = 3_000;
const MOST_SAID = 1_000; // characters of an answer's text that a reason repeats
const REFUSED_WHY = "is a router there, is this its WebSocket port, and may this page connect?";
const NO_WEBSOCKET =
  "this JavaScript has no WebSocket. Take Node 22 or newer, or give it one: `npm install ws`, " +
  '`import { WebSocket } from "ws"`, `connect(url, { WebSocket })`';

// --- Errors
//
// PostroomError
// ├── CommandError          the router refused one command: `code`, `temporary`, `retryAfterMs`
// ├── CommandTimeout        no answer in time; it may have happened: `command`, `eventId`
// ├── ConnectFailed         the first connection did not come about: `url`, `reason`
// ├── ConnectionEnded       the router ended the connection and does not want it back: `code`, `reason`
// │   └── Unauthenticated   it wants another token first
// ├── ClientClosed          this client was closed by its own application
// ├── GapError              events of a room are gone: `gap` says which
// └── Revoked               the router ended this subscription: `room`, `reason`

/** Base of every error that this module throws on purpose. */
export class PostroomError extends Error {
  name = "PostroomError";

  constructor(message, details = {}) {
    super(message);
    Object.assign(this, details);
  }
}

/** The router refused a command, and nothing was changed. `temporary`: the same command may succeed later. */
export class CommandError extends PostroomError {
  name = "CommandError";

  constructor(code, message, temporary = false, retryAfterMs = null) {
    super(`${code}: ${message}`, { code, temporary, retryAfterMs });
  }
}

/** No answer came in time: the command may or may not have happened. Publish again with `eventId`: it is taken once. */
export class CommandTimeout extends PostroomError {
  name = "CommandTimeout";
}

/** The first connection did not come about. */
export class ConnectFailed extends PostroomError {
  name = "ConnectFailed";

  constructor(url, reason) {
    super(`cannot connect${typeof url === "string" ? ` to ${url}` : ""}: ${reason}`, { url, reason });
  }
}

/** The router ended the connection for good: connecting again would not help. */
export class ConnectionEnded extends PostroomError {
  name = "ConnectionEnded";

  constructor(code, reason) {
    super(`the router ended the connection with code ${code}: ${reason}`, { code, reason });
  }
}

/** The router does not take the token, or it expired and there is no way to get a fresh one. */
export class Unauthenticated extends ConnectionEnded {
  name = "Unauthenticated";
}

/** The application closed this client. */
export class ClientClosed extends PostroomError {
  name = "ClientClosed";
}

/** Events of a room will never come; iterate again to go on after the gap. */
export class GapError extends PostroomError {
  name = "GapError";
}

/** The router ended this subscription. */
export class Revoked extends PostroomError {
  name = "Revoked";

  constructor(room, reason) {
    super(`the subscription to ${room} was ended by the router: ${reason}`, { room, reason });
  }
}

/** The connection is over or did not come about, and the client comes back. */
class Break extends Error {
  constructor(reason, atLeastMs = 0) {
    super(reason);
    this.atLeastMs = atLeastMs;
  }
}

function commandError({ code, message, temporary, retry_after_ms: retryAfterMs }) {
  return new CommandError(code, message, temporary, retryAfterMs ?? null);
}

// --- Waiting

/**
 * How long to wait before an attempt (1: the first one after something failed): anything between the floor and
 * `floor * 2^attempt`, at most the cap, so that clients which lost the same router do not come back at the same moment.
 */
export function backoffMs(attempt, { floorMs = FLOOR_MS, capMs = CAP_MS } = {}, random = Math.random) {
  const longest = Math.max(floorMs, Math.min(capMs, floorMs * 2 ** Math.min(Math.max(attempt, 1), 32)));
  return floorMs + random() * (longest - floorMs);
}

/** Wait, or until the signal aborts. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(ms, 0));
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}

// --- The chain

const position = (epoch, offset) => Object.freeze({ epoch, offset });
const same = (one, other) => one?.epoch === other.epoch && one.offset === other.offset;

/**
 * The chain check of one room, without I/O: attachments, events and markers in, verdicts and gaps out. The rule is one
 * line, `event.prev == position`, then `position = event.offset`. Only here is it decided that something is missing.
 */
export class Chain {
  #epoch;
  #betweenEvents = false;

  /** A position that was kept from an earlier run may be given, to resume from it. */
  constructor(room, kept = null) {
    this.room = room;
    /** Up to where everything is accounted for; null until the first event of a replay that was asked for by number. */
    this.position = kept;
    this.#epoch = kept?.epoch ?? "";
  }

  /** Start, or go on, where the router attached the room; return what is missing since `after`, or null. */
  attach({ epoch, offset, recovery, replay, missing }, after = null) {
    const top = position(epoch, offset);
    this.#epoch = epoch;
    this.#betweenEvents = false;
    if (after === null) {
      this.position = replay ? null : top;
      return null;
    }
    if (recovery === "full") {
      this.position = position(epoch, after.offset);
      return null;
    }
    if (recovery === "partial" && missing) {
      this.position = position(epoch, missing.to);
      this.#betweenEvents = true;
      return this.#gap("expired", after, this.position, missing);
    }
    this.position = top;
    return same(top, after) ? null : this.#gap("new_epoch", after, top, null);
  }

  /** Judge an event, and move to it if it is the next one: "next", "duplicate" or "broken". */
  event(offset, prev) {
    if (!Number.isInteger(offset) || !Number.isInteger(prev)) throw new TypeError("an event without offset and prev");
    if (this.position !== null) {
      const at = this.position.offset;
      if (offset <= at) return "duplicate";
      // A marker may end between two events (offsets can be sparse): then `prev` lies before it.
      if (prev !== at && !(this.#betweenEvents && prev < at)) return "broken";
    }
    this.#move(offset, false);
    return "next";
  }

  /** Move to the end of a `skipped` marker; return whether it was above the position. */
  skip(last) {
    if (!Number.isInteger(last)) throw new TypeError("a marker without its end");
    if (this.position !== null && last <= this.position.offset) return false;
    this.#move(last, true);
    return true;
  }

  /** Move to an event that the chain does not reach, and return what is missing before it. */
  acceptBreak(offset, prev) {
    const last = this.position ?? position(this.#epoch, 0);
    this.#move(offset, false);
    const missing = last.offset < prev ? { from: last.offset + 1, to: prev } : null;
    return this.#gap("broken_chain", last, position(this.#epoch, missing ? prev : last.offset), missing);
  }

  #move(offset, betweenEvents) {
    this.position = position(this.#epoch, offset);
    this.#betweenEvents = betweenEvents;
  }

  #gap(reason, last, next, missing) {
    return Object.freeze({ room: this.room, reason, last, next, missing });
  }
}

// --- One room

/** What was received of one room and not taken yet, checked by the chain and bounded; and what is known of the room. */
class Stream extends EventTarget {
  /** Position of the last event that was handed over, or of the attachment before the first: `after`, to go on. */
  position = null;
  /** The room's state at `statePosition`, as of the last attachment; null: not asked for. */
  state = null;
  /** Where `state` was taken: events up to there are in it already, later ones are not. */
  statePosition = null;
  /** How the router last attached the room: "fresh", "full", "partial" or "none". */
  recovery = "fresh";
  /** Whether nothing more can come but what is buffered. */
  ended = false;
  /** Why it ended; null: it did not, or the application wanted it. */
  error = null;
  attached = false; // whether what comes belongs to the stream: between a break and the next attachment it does not
  #items = []; // [kind, value]
  #healedAt = null;
  #limit;

  constructor(room, wish, limit, claimed) {
    super();
    /** Name of the room. */
    this.room = room;
    this.wish = wish;
    this.claimed = claimed; // whether an application reads it; if not, the newest items are kept and older ones go
    this.chain = new Chain(room, wish.after);
    this.position = wish.after ?? null;
    this.#limit = limit;
  }

  /** How many events and markers wait to be taken. */
  get buffered() {
    return this.#items.length;
  }

  get full() {
    return this.claimed && !this.ended && this.buffered >= this.#limit;
  }

  get drained() {
    return this.buffered * 2 <= this.#limit;
  }

  /** The position that `hello` can resume: of a room without a filter, for it carries no kinds. */
  get resumable() {
    return this.wish.kinds === undefined ? this.chain.position : null;
  }

  /** What to ask for, from where it stands. */
  get fields() {
    const { history, kinds, state } = this.wish;
    const after = this.chain.position ?? undefined;
    return { room: this.room, after, history: after ? undefined : history, kinds, state: state && undefined };
  }

  attach(answer, after) {
    const gap = this.chain.attach(answer, after);
    this.attached = true;
    this.recovery = answer.recovery;
    this.state = answer.state ?? null;
    this.statePosition = position(answer.epoch, answer.offset);
    if (!this.buffered) this.position = gap?.last ?? this.chain.position ?? position(answer.epoch, 0);
    this.dispatchEvent(new Event("attached"));
    if (gap !== null) this.#add("gap", gap);
  }

  /** Take an event in; false where the chain is broken and must be healed from its position: that is tried once. */
  receive(event) {
    const verdict = this.chain.event(event.offset, event.prev);
    if (verdict === "broken") {
      if (!same(this.#healedAt, this.chain.position)) {
        this.#healedAt = this.chain.position;
        this.attached = false;
        return false;
      }
      this.#add("gap", this.chain.acceptBreak(event.offset, event.prev));
    }
    if (verdict !== "duplicate") this.#add("event", event);
    return true;
  }

  skip(marker) {
    if (this.chain.skip(marker.to)) this.#add("skipped", marker);
  }

  /** Return the next item as [kind, value], or null. */
  take() {
    const item = this.#items.shift() ?? null;
    if (item !== null) {
      const [kind, value] = item;
      const end = kind === "event" ? value.offset : value.to;
      this.position = kind === "gap" ? value.next : position(this.position.epoch, end);
    }
    return item;
  }

  /** End it, after what waits was taken or at once. The first end counts. */
  end(error, drop = false) {
    if (this.ended) return;
    Object.assign(this, { ended: true, error, attached: false });
    if (drop) this.#items = [];
    this.changed();
  }

  #add(kind, value) {
    if (!this.claimed && this.buffered >= this.#limit) this.take();
    this.#items.push([kind, value]);
    this.changed();
  }
}

/**
 * One room's events, each once and in order, also across reconnects. Made by `Client.subscribe` and `Client.joined`.
 *
 * Read it in one of two ways: iterate it, `for await (const event of subscription)`, one iterator at a time; or add a
 * listener for "event", `subscription.addEventListener("event", ({ detail }) => ..)`, which gets all from then on.
 * Listeners for "skipped" and "gap" hear of those at their place in the stream in either way. "attached" tells that the
 * router attached the room (again) and `state` is fresh; to listeners, "ended" that nothing more comes (see `error`).
 *
 * What is not iterated waits in a buffer of `buffer` events. When that is full the client leaves the room, and comes
 * back to it when half of it is free: nothing is lost for as long as the room's history reaches back.
 *
 * The iteration ends after `unsubscribe` and `close`. It throws, after what was buffered: `GapError` where events are
 * gone for good (unless `gaps` is "report"; iterate again to go on), `Revoked`, `ConnectionEnded`, or the
 * `CommandError` with which the router refused to attach the room again.
 */
export class Subscription extends Stream {
  #rooms;
  #wake = null; // ends the wait of the one who iterates
  #listening = false;
  #told = false; // whether listeners know that it ended

  /** Inside. */
  constructor(rooms, room, wish, limit, claimed = true) {
    super(room, wish, limit, claimed);
    this.#rooms = rooms;
  }

  /** Leave the room. The iteration ends, and what was buffered is dropped. More than once does nothing. */
  async unsubscribe() {
    if (this.ended) return;
    this.end(null, true);
    await this.#rooms.leave(this);
  }

  /** As every EventTarget's. The first listener for "event" gets what waits, and all that comes. */
  addEventListener(type, listener, options) {
    const first = type === "event" && !this.#listening;
    if (first && this.#wake !== null) throw new PostroomError(`${this.room} is iterated already`);
    super.addEventListener(type, listener, options);
    if (!first) return;
    this.#listening = true;
    queueMicrotask(() => this.changed());
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** The next event; see `for await`. */
  async next() {
    if (this.#listening || this.#wake !== null) throw new PostroomError(`${this.room} is read already`);
    for (;;) {
      const item = this.#hand();
      if (item === null) {
        if (this.error !== null) throw this.error;
        if (this.ended) return { value: undefined, done: true };
        await new Promise((resolve) => (this.#wake = resolve));
        this.#wake = null;
      } else if (item[0] === "event") {
        return { value: item[1], done: false };
      } else if (item[0] === "gap" && this.wish.gaps !== "report") {
        throw new GapError(`${this.room}: events are gone (${item[1].reason})`, { gap: item[1] });
      }
    }
  }

  /** Inside: there is something to take, or it ended. */
  changed() {
    this.#wake?.();
    if (!this.#listening) return;
    while (this.#hand() !== null);
    if (!this.ended || this.#told) return;
    this.#told = true;
    this.dispatchEvent(new Event("ended"));
  }

  /** Take an item, and tell those who listen. */
  #hand() {
    const item = this.take();
    if (item === null) return null;
    this.#rooms.taken(this);
    this.dispatchEvent(new CustomEvent(item[0], { detail: item[1] }));
    return item;
  }
}

// --- Commands

/** Commands and their answers. What was not answered when the connection broke is sent again on the next, in order. */
class Commands {
  messageBytes = 65_536; // the router would close the connection for good over a longer message
  #lastId = 0;
  #waiting = new Map();
  #send = null;
  #error = null;
  #timeoutMs;

  constructor(timeoutMs) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Send a command, now or with the next connection, and return its answer. `once`: it belongs to this connection, and
   * fails with a `Break` where that breaks. `onAnswer` is called with the answer before the next message is taken in.
   */
  async ask(type, fields, { once = false, timeoutMs = this.#timeoutMs, onAnswer = () => {}, eventId = null } = {}) {
    if (this.#error !== null) throw this.#error;
    if (once && this.#send === null) throw new Break("not connected");
    if (!once && this.#waiting.size >= MOST_COMMANDS) { // the client's own few go in any case
      throw new CommandError("busy", `${MOST_COMMANDS} commands of this client wait for their answers`, true);
    }
    const id = (this.#lastId += 1);
    const frame = JSON.stringify({ type, id, ...fields });
    const size = frame.length * 3 > this.messageBytes ? new TextEncoder().encode(frame).length : 0;
    if (size > this.messageBytes) {
      throw new CommandError("too_large", `${type} takes ${size} bytes, the router at most ${this.messageBytes}`);
    }
    return new Promise((resolve, reject) => {
      const late = `no answer to ${type} within ${timeoutMs / 1000} s`;
      const timeout = new CommandTimeout(late, { command: type, timeoutMs, eventId });
      const timer = setTimeout(() => this.#forget(id).reject(timeout), timeoutMs);
      this.#waiting.set(id, { frame, once, onAnswer, resolve, reject, timer });
      this.#send?.(frame);
    });
  }

  /** Send a command that nobody waits for, on this connection only. */
  tell(type, fields) {
    this.#send?.(JSON.stringify({ type, ...fields }));
  }

  /** Give a command its answer; return whether one waited. */
  answered(message) {
    const command = this.#waiting.get(message.id);
    if (command === undefined) return false;
    this.#forget(message.id);
    if (message.type === "error") {
      command.reject(commandError(message));
    } else {
      command.onAnswer(message);
      command.resolve(message);
    }
    return true;
  }

  connected(send) {
    this.#send = send;
    for (const { frame } of this.#waiting.values()) send(frame);
  }

  disconnected() {
    this.#send = null;
    for (const [id, { once }] of [...this.#waiting]) {
      if (once) this.#forget(id).reject(new Break("the connection broke"));
    }
  }

  end(error) {
    this.#error = error;
    for (const id of [...this.#waiting.keys()]) this.#forget(id).reject(error);
  }

  #forget(id) {
    const command = this.#waiting.get(id);
    clearTimeout(command.timer);
    this.#waiting.delete(id);
    return command;
  }
}

// --- Rooms

/** The subscriptions of one client by room: what the router says about them in; attaches again what came loose. */
class Rooms {
  #commands;
  #options;
  #warn;
  #streams = new Map();
  #opening = new Set();
  #asked = {}; // what the last hello resumed
  #atRouter = new Set(); // rooms that the router has this connection in
  #parked = new Set(); // rooms that were left because nobody takes their events
  #turns = new Map(); // room to the attempt of now to attach it again
  #connected = false;

  constructor(commands, options, warn) {
    this.#commands = commands;
    this.#options = options;
    this.#warn = warn;
    for (const [room, after] of Object.entries(options.resume)) this.#add(this.#make(room, { after, state: true }));
  }

  get names() {
    return [...this.#streams.keys()];
  }

  /** Let the application have what there is already; from now on it keeps all that comes. */
  claim(room, gaps) {
    const stream = this.#streams.get(room);
    if (stream === undefined) throw new CommandError("not_subscribed", `not in ${room}; in: ${this.names.join(", ")}`);
    if (!stream.claimed) stream.wish.gaps = gaps;
    stream.claimed = true;
    return stream;
  }

  /** Begin a subscription, and return it once the router has attached it. */
  async open(room, wish) {
    const known = this.#streams.get(room);
    if (this.#opening.has(room) || known?.claimed) {
      throw new CommandError("already_subscribed", `${room} is subscribed already; use the subscription that exists`);
    }
    if (known !== undefined) {
      const asItIs = !wish.after && wish.history === undefined && wish.kinds === undefined && wish.state;
      if (asItIs) return this.claim(room, wish.gaps);
      this.#drop(known);
      this.#commands.tell("unsubscribe", { room });
    }
    const stream = this.#make(room, wish);
    const onAnswer = (answer) => this.#add(stream).attach(answer, wish.after);
    this.#opening.add(room);
    try {
      await this.#commands.ask("subscribe", stream.fields, { onAnswer });
      return stream;
    } catch (error) {
      const joined = this.#streams.get(room);
      if (error.code !== "already_subscribed" || !joined || joined.claimed) throw error;
    } finally {
      this.#opening.delete(room);
    }
    return this.open(room, wish); // the connection broke meanwhile, and on the next the router joined it by itself
  }

  async leave(stream) {
    this.#drop(stream);
    try {
      await this.#commands.ask("unsubscribe", { room: stream.room });
    } catch (error) {
      if (!(error instanceof ClientClosed || error.code === "not_subscribed")) throw error;
    }
  }

  /** Make use of the space that the application made. */
  taken(stream) {
    const { room, drained } = stream;
    if (this.#streams.get(room) !== stream) return; // its end is read, and another one may be parked there
    if (drained && this.#parked.delete(room) && this.#connected) this.#reattach(stream);
  }

  /** What `hello` asks for. */
  resume() {
    const wanted = [...this.#streams.values()].filter(({ room, resumable }) => resumable && !this.#parked.has(room));
    this.#asked = Object.fromEntries(wanted.map(({ room, resumable }) => [room, resumable]));
    return wanted.length ? this.#asked : undefined;
  }

  /** Attach the rooms that the router resumed or joined, and ask for those it did not. */
  welcome({ rooms }) {
    this.#connected = true;
    this.#atRouter = new Set(Object.keys(rooms));
    for (const [room, joined] of Object.entries(rooms)) {
      if (!this.#streams.has(room)) this.#joined(room, joined);
      else if (this.#asked[room]) this.#streams.get(room).attach(joined, this.#asked[room]);
    }
    for (const stream of this.#streams.values()) {
      if (!stream.attached && !this.#parked.has(stream.room)) this.#reattach(stream);
    }
  }

  disconnected() {
    this.#connected = false;
    this.#atRouter.clear();
    this.#turns.clear();
    for (const stream of this.#streams.values()) stream.attached = false;
  }

  end(error) {
    for (const stream of [...this.#streams.values()]) this.#drop(stream).end(error);
  }

  subscribed(message) {
    const { room, id } = message;
    this.#atRouter.add(room);
    if (this.#commands.answered(message) || this.#streams.has(room)) return;
    if (id === undefined) this.#joined(room, message); // an operator did it
    else this.#commands.tell("unsubscribe", { room }); // the answer came after its time
  }

  event(event) {
    const stream = this.#attached(event.room);
    if (stream === null || stream.receive(event)) return;
    this.#warn(`${event.room}: an event is missing before ${event.offset}, asking for it again`);
    this.#reattach(stream);
  }

  skipped(marker) {
    this.#attached(marker.room)?.skip(marker);
  }

  /** End what the router ended; what is being asked for again ends with its own answer. */
  revoked({ room, reason }) {
    this.#atRouter.delete(room);
    const stream = this.#streams.get(room);
    if (stream?.attached || (stream && !this.#turns.has(room))) this.#drop(stream).end(new Revoked(room, reason));
  }

  /** Without an id nobody here had asked for it. */
  unsubscribed({ room, id }) {
    this.#atRouter.delete(room);
    if (id === undefined) return this.revoked({ room, reason: "the router unsubscribed it" });
    const stream = this.#streams.get(room);
    if (stream?.claimed === false && !this.#turns.has(room)) this.#drop(stream); // joined anew before it was left
  }

  /** The stream that takes what comes now, or null. What is full leaves its room, and comes back for what is next. */
  #attached(room) {
    const stream = this.#streams.get(room);
    if (!stream?.attached) return null;
    if (!stream.full) return stream;
    stream.attached = false;
    this.#parked.add(room);
    this.#atRouter.delete(room);
    this.#commands.tell("unsubscribe", { room });
    return null;
  }

  /** Leave the room if the router has us in it, then subscribe from the position. Ends with the connection. */
  async #reattach(stream) {
    const { room } = stream;
    const turn = {};
    this.#turns.set(room, turn);
    const current = () => this.#turns.get(room) === turn;
    for (let attempt = 1; current(); ) {
      try {
        if (this.#atRouter.delete(room)) await this.#commands.ask("unsubscribe", { room }, { once: true });
        if (!current()) return;
        const after = stream.chain.position;
        const onAnswer = (answer) => current() && stream.attach(answer, after);
        await this.#commands.ask("subscribe", stream.fields, { once: true, onAnswer });
        if (current()) this.#turns.delete(room);
        return;
      } catch (error) {
        if (error instanceof Break || !current()) return;
        if (error instanceof CommandTimeout) {
          this.#atRouter.add(room); // it may be in there now: leave first
        } else if (error.temporary) {
          const { backoff, over } = this.#options;
          await pause(Math.max(backoffMs(attempt, backoff), error.retryAfterMs), over.signal);
          attempt += 1;
        } else if (error.code !== "not_subscribed") {
          const refused = ["forbidden", "unauthenticated", "not_found"].includes(error.code);
          this.#drop(stream).end(refused ? new Revoked(room, error.message) : error);
        }
      }
    }
  }

  #make(room, wish, claimed = true) {
    return new Subscription(this, room, wish, this.#options.buffer, claimed);
  }

  #add(stream) {
    this.#streams.set(stream.room, stream);
    return stream;
  }

  /** Keep what comes of a room that nobody here asked for, until somebody does. */
  #joined(room, answer) {
    this.#add(this.#make(room, { state: true }, false)).attach(answer, null);
  }

  #drop(stream) {
    if (this.#streams.get(stream.room) === stream) {
      for (const each of [this.#streams, this.#parked, this.#turns]) each.delete(stream.room);
    }
    return stream;
  }
}

// --- The client

/** One connection after the other: opens, says hello, reads, and comes back after every break that allows it. */
class Link extends EventTarget {
  /** "connecting", "open", "waiting" (for the next attempt, at `retryAt`) or "ended"; "status" tells of changes. */
  phase = "connecting";
  /** Why the last attempt or connection ended, in words; empty while one is open. */
  reason = "";
  /** When the next attempt is due, in milliseconds since 1970; null: none is. */
  retryAt = null;
  /** The error that ended this client; null: none did. */
  error = null;
  /** The router's last `welcome`: `user`, `role`, `connection`, `limits`; null before the first. */
  welcome = null;
  /** When the token ends, as the router said last; null: it does not. */
  expiresAt = null;
  /** Whether the router said that it is about to stop. */
  draining = false;
  #options;
  #commands;
  #rooms;
  #nap = new AbortController(); // ends the wait for the next attempt
  #socket = null;
  #over = null; // ends the connection of now, with a `Break` or an error
  #slotMs = null;
  #renewing = false;
  #renewedAt = -Infinity;

  constructor(options, commands, rooms) {
    super();
    this.#options = options;
    this.#commands = commands;
    this.#rooms = rooms;
    this.#run().catch((error) => this.end(error));
  }

  /** Try again at once, where this client waits for its next attempt. */
  retryNow() {
    this.#nap.abort();
  }

  /**
   * Give the router a fresh token; resolves with when that one ends, or null. Where `token` is a function this happens
   * by itself. A given token is used for reconnecting too, unless a function gives those.
   */
  async refresh(token) {
    const fresh = token ?? (await this.#token());
    const { expires_at: expiresAt } = await this.#commands.ask("refresh", { token: fresh });
    if (!this.#renewable) this.#options.token = fresh;
    return expiresAt;
  }

  /** Inside: end for good. Resolves when the socket is closed. */
  async end(error) {
    if (this.error !== null) return;
    this.error = error;
    this.#options.over.abort();
    this.#nap.abort();
    const socket = this.#socket;
    if (socket !== null) {
      this.#release(socket);
      this.#over(new Break("closed"));
    }
    this.#rooms.end(error instanceof ClientClosed ? null : error);
    this.#commands.end(error);
    this.#become("ended", error.reason ?? error.message);
    if (socket !== null) await closed(socket);
  }

  /** Connect again and again; ends only with what ends the client. */
  async #run() {
    const { backoff } = this.#options;
    for (let attempt = 0; this.error === null; ) {
      const began = performance.now();
      this.#slotMs = null;
      this.#become("connecting", this.reason);
      const end = await this.#connection().catch((error) => error);
      if (this.error !== null) return;
      if (!(end instanceof Break)) throw end;
      if (this.#slotMs !== null || performance.now() - began >= (backoff.capMs ?? CAP_MS)) attempt = 0;
      const delay = this.#slotMs ?? Math.max(backoffMs((attempt += 1), backoff), end.atLeastMs);
      this.#nap = new AbortController();
      this.#become("waiting", end.message, Date.now() + delay);
      await pause(delay, this.#nap.signal);
    }
  }

  /** Live one connection; rejects with the `Break` that was its end, or with what ends the client. */
  async #connection() {
    const { url, WebSocket } = this.#options;
    const token = await this.#token().catch((error) => {
      if (this.welcome === null) throw error;
      this.warn("there is no fresh token", error);
      throw new Break("there is no fresh token");
    });
    const address = await valueOf(url).catch((error) => {
      throw new Break(error.message);
    });
    if (this.error !== null) return;
    let socket;
    try {
      socket = new WebSocket(address, "postroom.v1");
    } catch (error) {
      throw new ConnectFailed(address, error.message);
    }
    this.#socket = socket;
    try {
      await this.#live(socket, token);
    } finally {
      if (this.#socket === socket) {
        this.#release(socket);
        if (socket.terminate) socket.terminate();
        else socket.close();
      }
    }
  }

  #live(socket, token) {
    const timers = [];
    let greeted = false;
    let heard = 0;
    let trouble = `no WebSocket connection to ${socket.url} (${REFUSED_WHY})`;
    return new Promise((_, over) => {
      const beat = (everyMs) => {
        const asked = performance.now();
        const late = () => heard < asked && over(new Break("the router does not answer"));
        this.#commands.ask("ping", {}, { once: true, timeoutMs: Math.min(everyMs, PONG_MS) }).catch(late);
      };
      timers.push(setTimeout(() => greeted || over(new Break(`no welcome within ${WELCOME_MS / 1000} s`)), WELCOME_MS));
      this.#over = over;
      socket.onopen = () => {
        trouble = "";
        this.draining = false;
        const resume = this.#rooms.resume();
        socket.send(JSON.stringify({ type: "hello", id: 0, token, client: this.#options.client, resume }));
      };
      socket.onmessage = ({ data }) => {
        heard = performance.now();
        try {
          const message = JSON.parse(data);
          if (greeted) return this.#take(message);
          greeted = this.#greet(message, socket);
          const everyMs = greeted ? message.heartbeat_s * 1000 : 0;
          if (everyMs) timers.push(setInterval(beat, everyMs, everyMs)); // pages do not see the router's own pings
        } catch (error) {
          const ours = error instanceof PostroomError || error instanceof Break;
          over(ours ? error : new Break(`not the protocol: ${error.message}`));
        }
      };
      socket.onerror = ({ message }) => message && trouble && (trouble = `${trouble}: ${message}`);
      socket.onclose = async ({ code, reason }) => {
        const refused = trouble && this.welcome === null ? await refusal(socket.url) : "";
        if (refused && refused !== this.reason) console.warn(`Postroom: ${refused}`); // to who writes the page, once
        over(this.#closed(code, refused || trouble || reason));
      };
    }).finally(() => timers.forEach((timer) => clearTimeout(timer)));
  }

  /** Take the welcome in, and return whether this was it; throws where the router refuses. */
  #greet(message, socket) {
    if (message.type === "notice") this.#notice(message);
    if (message.type === "error") {
      const { code, temporary } = message;
      if (temporary) throw new Break(`hello: ${code}`, message.retry_after_ms);
      if (code === "token_expired") throw this.#closed(TOKEN_EXPIRED, message.message);
      if (code === "unauthenticated") throw this.#closed(UNAUTHENTICATED, message.message);
      throw commandError(message);
    }
    if (message.type !== "welcome") return false;
    this.welcome = message;
    this.expiresAt = message.expires_at;
    this.#commands.messageBytes = message.limits.message_bytes;
    this.#commands.connected((frame) => socket.send(frame));
    this.#rooms.welcome(message);
    this.#become("open");
    return true;
  }

  #take(message) {
    const { type } = message;
    if (type === "event") return this.#rooms.event(message);
    if (type === "skipped") return this.#rooms.skipped(message);
    if (type === "subscribed") return this.#rooms.subscribed(message);
    if (type === "revoked") return this.#rooms.revoked(message);
    if (type === "notice") return this.#notice(message);
    if (type === "unsubscribed") this.#rooms.unsubscribed(message);
    if (type === "refreshed") {
      this.expiresAt = message.expires_at;
      this.dispatchEvent(new Event("status"));
    }
    this.#commands.answered(message);
  }

  #notice(notice) {
    if (notice.code === "draining") {
      this.#slotMs = Math.max(notice.reconnect_in_ms, 0);
      this.draining = true;
      this.dispatchEvent(new Event("status"));
    }
    if (notice.code === "token_expiring" && this.#renewable) this.#renew();
    this.dispatchEvent(new CustomEvent("notice", { detail: notice }));
  }

  /** Tokens that live shorter than the router's warning time bring the next notice at once: not more often than so. */
  async #renew() {
    if (this.#renewing) return;
    this.#renewing = true;
    try {
      await pause(this.#renewedAt + BETWEEN_RENEWALS_MS - performance.now(), this.#options.over.signal);
      this.#renewedAt = performance.now();
      if (this.error === null) await this.#commands.ask("refresh", { token: await this.#token() }, { once: true });
    } catch (error) {
      if (!(error instanceof Break)) this.warn("the token was not renewed", error);
    } finally {
      this.#renewing = false;
    }
  }

  /** What a closed connection means: the `Break` after which to come back, or the error that ends the client. */
  #closed(code, reason) {
    const comesBack = !(code in FINAL) || (code === TOKEN_EXPIRED && this.#renewable);
    const why = reason || FINAL[code];
    if (!comesBack && [UNAUTHENTICATED, TOKEN_EXPIRED].includes(code)) return new Unauthenticated(code, why);
    if (!comesBack) return new ConnectionEnded(code, why);
    return new Break(reason || (code === 1006 ? "the connection broke" : `closed with ${code}`));
  }

  get #renewable() {
    return typeof this.#options.token === "function";
  }

  async #token() {
    return (await valueOf(this.#options.token)) ?? undefined;
  }

  /** Take a socket away from the client: what it still does is nobody's business. */
  #release(socket) {
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this.#commands.disconnected();
    this.#rooms.disconnected();
  }

  /** Inside. */
  warn(message, error = null) {
    this.dispatchEvent(new CustomEvent("warning", { detail: { message, error } }));
  }

  #become(phase, reason = "", retryAt = null) {
    Object.assign(this, { phase, reason, retryAt });
    this.dispatchEvent(new Event("status"));
  }
}

/** What an option is, or what the function gives that stands for it. */
async function valueOf(option) {
  return typeof option === "function" ? option() : option;
}

/** What the router says to a page that it does not let connect: browsers tell pages that it failed, and not why. */
async function refusal(url) {
  if (globalThis.location === undefined) return ""; // a program, to which its WebSocket tells it
  try {
    const asked = { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(WHY_MS) };
    const answer = await fetch(url.replace(/^ws/, "http"), asked);
    const plain = answer.headers.get("Content-Type")?.startsWith("text/plain"); // a page of a proxy's says nothing
    return answer.status === 403 && plain ? (await answer.text()).slice(0, MOST_SAID).trim() : "";
  } catch {
    return ""; // nobody is there, or somebody who lets no page read why
  }
}

/** Close a socket, and wait until it is closed, but not for ever: nobody may be there to answer. */
async function closed(socket) {
  const gone = new AbortController();
  socket.onclose = () => gone.abort();
  socket.close(1000);
  await pause(CLOSE_MS, gone.signal);
  if (!gone.signal.aborted) socket.terminate?.();
}

/**
 * A connection to a router that comes back by itself. `connect` makes one and waits for the router's welcome; with
 * `new Client`, which takes the same, it tries for as long as it takes: follow its `phase`.
 *
 * Every command waits for the router's answer, through breaks: what was not answered is sent again on the next
 * connection, which changes nothing twice (a publish carries its event id). Each rejects with `CommandError` where it
 * was refused, `CommandTimeout` where no answer came in time, `ConnectionEnded` or `ClientClosed` where all is over.
 *
 * Events: "status" (`phase`, `expiresAt` or `draining` changed), "notice" (`detail`: the router's notice, such as
 * `token_expiring`), "warning" (`detail`: `{message, error}`, what went wrong and is dealt with).
 */
export class Client extends Link {
  #commands;
  #rooms;

  /** See `connect`. */
  constructor(url, options = {}) {
    const { token, resume = {}, buffer = 1024, backoff = {}, commandTimeoutMs = 30_000 } = options;
    const { WebSocket = globalThis.WebSocket, client = { name: NAME, version: VERSION } } = options;
    if (WebSocket === undefined) throw new ConnectFailed(url, NO_WEBSOCKET);
    const over = new AbortController();
    const commands = new Commands(commandTimeoutMs);
    const settings = { url, WebSocket, token, client, backoff, over, resume, buffer: Math.max(buffer, 1) };
    const rooms = new Rooms(commands, settings, (text) => this.warn(text));
    super(settings, commands, rooms);
    this.#commands = commands;
    this.#rooms = rooms;
  }

  /** Rooms this client is in: what was subscribed, and what the router joined by itself. */
  get rooms() {
    return this.#rooms.names;
  }

  /**
   * Join a room; resolves with its `Subscription`. Options: `after` (a position to go on from), `history` (begin with
   * the last n events), `kinds` (only these), `state` (false: without the room's state), `gaps` ("report": no
   * `GapError`, only the event "gap").
   */
  subscribe(room, { after, history, kinds, state = true, gaps = "raise" } = {}) {
    return this.#rooms.open(room, { after, history, kinds, state, gaps });
  }

  /**
   * The subscription to a room that the router joined by itself (`user:<sub>`, `role:<role>`, `broadcast`, `system`),
   * or that `resume` named. Until it is called for a room, only its newest events are kept.
   */
  joined(room, { gaps = "raise" } = {}) {
    return this.#rooms.claim(room, gaps);
  }

  /** Publish an event; resolves with its receipt once it is committed. */
  publish(room, kind, data, { eventId = randomId(), delivery, key, ack, traceparent } = {}) {
    const fields = { room, kind, data, event_id: eventId, delivery, key, ack, traceparent };
    return this.#commands.ask("publish", fields, { eventId });
  }

  /** A room's state and the position it holds for. */
  state(room) {
    return this.#commands.ask("state", { room });
  }

  /** A part of a room's history, without subscribing: `after` or `before` an offset, at most `limit` events (100). */
  history(room, { after, before, limit } = {}) {
    return this.#commands.ask("history", { room, after, before, limit });
  }

  /** Who is in a room now. */
  presence(room) {
    return this.#commands.ask("presence", { room });
  }

  /** Acknowledge an alert, so that it is no longer shown to everyone who joins. */
  async ack(room, eventId) {
    await this.#commands.ask("ack", { room, event_id: eventId });
  }

  /** The router's time, once it has answered. */
  async ping() {
    return (await this.#commands.ask("ping", {})).time;
  }

  /** Close the connection; iterations end, and commands that wait reject with `ClientClosed`. */
  close() {
    return this.end(new ClientClosed("closed by the application"));
  }
}

/**
 * Connect to a router, and come back by itself after every break, with the positions of all rooms.
 *
 * @param {string | (() => string | Promise<string>)} url For example `ws://127.0.0.1:8000/v1/ws`, or a function that
 *   says it for each attempt. Never put a token into it.
 * @param {object} [options] See `ConnectOptions` in postroom.d.ts.
 * @returns {Promise<Client>} Once the router has welcomed it. Rejects with `ConnectFailed` where none did within
 *   `connectTimeoutMs` (20 s), and with `ConnectionEnded` where it refused for good.
 */
export async function connect(url, options = {}) {
  const { connectTimeoutMs = 20_000 } = options;
  const client = new Client(url, options);
  const settled = new AbortController();
  client.addEventListener("status", () => /open|ended/.test(client.phase) && settled.abort());
  await pause(connectTimeoutMs, settled.signal);
  if (client.error !== null) throw client.error;
  if (client.welcome !== null) return client;
  const reason = client.reason || `no answer within ${connectTimeoutMs / 1000} s`;
  await client.close();
  throw new ConnectFailed(url, reason);
}

/** `crypto.randomUUID` is not there on pages without TLS. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
