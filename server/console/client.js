// The WebSocket client: says hello, resumes, checks each room's chain, and comes back after every break that allows it.

import { Stream } from "./stream.js";

const FLOOR_S = 0.5;
const CAP_S = 20;
const WELCOME_S = 10;
const ANSWER_S = 10;
const MOST_WAITING = 200;
const FINAL = {
  1003: "it got a binary frame",
  1007: "it got text that is not UTF-8",
  1009: "a message was over the limit",
  4009: "an operator closed this page's connection",
  4400: "too many bad messages",
  4401: "the router does not take the token",
  4410: "the token has expired",
};
const REFUSED_WHY = "is that port open to this browser, and this page among the router's `origins`?";
const LOGIN = new Set([4401, 4410]);
const REFUSED = new Set(["unauthenticated", "token_expired"]);

/** A command that the router refused, or that nobody answered. */
export class CommandError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * `phase` is "connecting", "open", "waiting" (for the next attempt, at `retryAt`) or "ended" (for good, and
 * `login` says whether another token helps). "status" events tell of every change.
 */
export class Client extends EventTarget {
  /** `open` makes a socket (it may take a while), `token` gives the token of now, or null. */
  constructor(open, token) {
    super();
    this.phase = "connecting";
    this.reason = "";
    this.login = false;
    this.retryAt = 0;
    this.attempt = 0;
    this.welcome = null;
    this.expiresAt = null;
    this.expiring = false;
    this.draining = false;
    this.streams = new Map();
    this.#open = open;
    this.#token = token;
  }

  #open;
  #token;
  #socket = null;
  #timer = null;
  #heartbeat = null;
  #slotMs = null;
  #lastId = 0;
  #waiting = new Map();

  /** Connect, or connect anew with the token of now. */
  start() {
    clearTimeout(this.#timer);
    this.#drop();
    this.expiresAt = null;
    this.draining = this.expiring = false;
    this.attempt = 0;
    this.#connect();
  }

  retryNow() {
    if (this.phase === "waiting" || this.phase === "ended") {
      clearTimeout(this.#timer);
      this.#connect();
    }
  }

  /** Send a command; resolves with its answer, rejects with a `CommandError`. */
  command(type, fields = {}) {
    if (this.phase !== "open") return Promise.reject(new CommandError("", "not connected to the router"));
    if (this.#waiting.size >= MOST_WAITING) return Promise.reject(new CommandError("busy", "too much is under way"));
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new CommandError("", `no answer to ${type} within ${ANSWER_S} s`));
      }, ANSWER_S * 1000);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  /** Put a new token in place of the one that ends. */
  async refresh(token) {
    const answer = await this.command("refresh", { token });
    this.expiresAt = answer.expires_at;
    this.expiring = false;
    this.#changed();
  }

  /** Follow a room until `leave`. Rooms may be watched by several at a time. */
  watch(room, history = 50) {
    let stream = this.streams.get(room);
    if (stream === undefined) {
      stream = new Stream(room, history);
      this.streams.set(room, stream);
      if (this.phase === "open") this.#join(stream);
    }
    stream.watchers += 1;
    return stream;
  }

  leave(stream) {
    stream.watchers -= 1;
    if (stream.watchers > 0 || this.streams.get(stream.room) !== stream) return;
    this.streams.delete(stream.room);
    if (this.phase === "open" && !(stream.room in this.welcome.rooms)) {
      this.command("unsubscribe", { room: stream.room }).catch(() => {});
    }
  }

  async #connect() {
    this.attempt += 1;
    this.#slotMs = null;
    this.#become("connecting");
    let socket;
    try {
      socket = await this.#open();
    } catch (error) {
      if (this.phase === "connecting") this.#wait(error.message);
      return;
    }
    if (this.phase !== "connecting" || this.#socket !== null) {
      socket.close(); // it was stopped, or started anew, meanwhile
      return;
    }
    this.#socket = socket;
    const late = setTimeout(() => this.#broken(socket, `no welcome within ${WELCOME_S} s`), WELCOME_S * 1000);
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#greet();
    });
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      const message = JSON.parse(data);
      if (message.type === "welcome") clearTimeout(late);
      this.#take(message);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      clearTimeout(late);
      this.#closed(socket, code, opened ? reason : `no WebSocket connection to ${socket.url} (${REFUSED_WHY})`);
    });
  }

  #greet() {
    const resume = {};
    for (const { room, chain } of this.streams.values()) if (chain.position !== null) resume[room] = chain.position;
    const hello = { type: "hello", client: { name: "postroom-console", version: "1" }, resume };
    const token = this.#token();
    this.#socket.send(JSON.stringify(token ? { ...hello, token } : hello));
  }

  #take(message) {
    const stream = this.streams.get(message.room);
    if (message.type === "event") stream?.event(message);
    else if (message.type === "skipped") stream?.skipped(message);
    else if (message.type === "welcome") this.#welcomed(message);
    else if (message.type === "notice") this.#notice(message);
    else if (message.type === "revoked") stream?.revoke(message.reason);
    else if (message.type === "error" && this.welcome === null) this.#refused(message);
    else this.#answered(message);
  }

  #welcomed(message) {
    if (message.role !== "admin") {
      this.#end(`the token of ${message.user} has the role ${message.role}; the console takes a token of role admin`, true);
      return;
    }
    this.welcome = message;
    this.expiresAt = message.expires_at;
    this.draining = this.expiring = false;
    this.attempt = 0;
    const streams = [...this.streams.values()]; // those that are watched from now on join by themselves
    this.#become("open");
    for (const stream of streams) {
      const position = stream.chain.position;
      if (position !== null && message.rooms[stream.room]) stream.attach(message.rooms[stream.room], true);
      else if (stream.revoked === null) this.#join(stream);
    }
    this.#heartbeat = setInterval(() => this.#ping(), message.heartbeat_s * 1000);
  }

  /** Browsers do not show the router's own pings: ask, so that a dead network is noticed. */
  #ping() {
    const socket = this.#socket;
    this.command("ping").catch(() => this.#broken(socket, "the router does not answer"));
  }

  async #join(stream) {
    const own = this.welcome.rooms[stream.room];
    try {
      if (own === undefined) {
        const answer = await this.command("subscribe", { room: stream.room, history: stream.history });
        stream.attach(answer, false);
        return;
      }
      stream.attach({ ...own, replay: 0 }, false); // it is joined already: what comes after is live
      const answer = await this.command("history", { room: stream.room, limit: stream.history });
      stream.earlier(answer.events);
    } catch (error) {
      if (this.phase === "open") stream.revoke(error.message);
    }
  }

  #notice(message) {
    if (message.code === "draining") {
      this.draining = true;
      this.#slotMs = Math.max(0, message.reconnect_in_ms);
    } else if (message.code === "token_expiring") {
      this.expiring = true;
      this.expiresAt = message.expires_at;
    }
    this.#changed();
  }

  #answered(message) {
    const command = this.#waiting.get(message.id);
    if (command === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(command.timer);
    if (message.type === "error") command.reject(new CommandError(message.code, message.message));
    else command.resolve(message);
  }

  #refused(message) {
    if (message.temporary) this.#broken(this.#socket, message.message, message.retry_after_ms);
    else this.#end(message.message, REFUSED.has(message.code) || message.code === "forbidden");
  }

  #closed(socket, code, reason) {
    if (socket !== this.#socket) return;
    if (code in FINAL) this.#end(FINAL[code], LOGIN.has(code));
    else this.#broken(socket, reason || (code === 1006 ? "the connection broke" : `closed with ${code}`));
  }

  #broken(socket, reason, atLeastMs = 0) {
    if (socket === this.#socket && socket !== null) this.#wait(reason, atLeastMs);
  }

  /** Come back in the router's slot, or after a random time that grows: not all clients at the same moment. */
  #wait(reason, atLeastMs = 0) {
    const longest = Math.min(CAP_S, FLOOR_S * 2 ** Math.min(this.attempt + 1, 10));
    const jittered = (FLOOR_S + Math.random() * (longest - FLOOR_S)) * 1000;
    const delay = this.#slotMs ?? Math.max(jittered, atLeastMs);
    this.#drop();
    this.retryAt = Date.now() + delay;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#become("waiting", reason);
  }

  #end(reason, login) {
    this.#drop();
    this.login = login;
    this.#become("ended", reason);
  }

  #drop() {
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new CommandError("", "the connection broke before the answer came"));
    }
    this.#waiting.clear();
    this.welcome = null;
  }

  #become(phase, reason = "") {
    this.phase = phase;
    this.reason = reason;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("status"));
  }
}
