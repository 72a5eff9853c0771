// The page's connection to the router: a client with the token of now, and the rooms that are watched over it.

import { Client } from "/postroom.js";
import { Stream } from "./stream.js";

const ANSWER_MS = 10_000;
const ENDS = { 4009: "an operator closed this page's connection", 4410: "the token has expired" };
const LOGIN = new Set([4401, 4410, "unauthenticated", "token_expired", "forbidden"]);

/** "status" events tell of every change of what is here. */
export class Link extends EventTarget {
  client = null;
  expiring = false; // whether the token is about to end
  #refused = null;
  #streams = new Map();
  #address;
  #token;

  /** `address` says where to connect to (it may take a while), `token` gives the token of now, or null. */
  constructor(address, token) {
    super();
    this.#address = address;
    this.#token = token;
  }

  /** "connecting", "open", "waiting" (for the next attempt) or "ended" (for good). */
  get phase() {
    return this.#refused === null ? this.client.phase : "ended";
  }

  get reason() {
    return this.#refused ?? ENDS[this.client.error?.code] ?? this.client.reason;
  }

  /** Whether it ended, and another token helps. */
  get login() {
    return this.phase === "ended" && (this.#refused !== null || LOGIN.has(this.client.error.code));
  }

  /** Connect, or connect anew with the token of now. */
  start() {
    this.client?.close();
    this.#refused = null;
    this.expiring = false;
    const name = { name: "postroom-console", version: "1" };
    const client = new Client(this.#address, { token: this.#token(), client: name, commandTimeoutMs: ANSWER_MS });
    this.client = client;
    client.addEventListener("status", () => client === this.client && this.#changed());
    client.addEventListener("notice", ({ detail }) => {
      if (detail.code === "token_expiring") this.#expires(true);
    });
    this.#changed();
  }

  /** Put a new token in place of the one that ends. */
  async refresh(token) {
    await this.client.refresh(token);
    this.#expires(false);
  }

  /** Follow a room until `leave`. Rooms may be watched by several at a time. */
  watch(room, history = 50) {
    const stream = this.#streams.get(room) ?? new Stream(room, history);
    this.#streams.set(room, stream);
    stream.watchers += 1;
    if (this.phase === "open") stream.follow(this.client);
    return stream;
  }

  leave(stream) {
    stream.watchers -= 1;
    if (stream.watchers > 0 || this.#streams.get(stream.room) !== stream) return;
    this.#streams.delete(stream.room);
    stream.stop();
  }

  #expires(expiring) {
    this.expiring = expiring;
    this.dispatchEvent(new Event("status"));
  }

  #changed() {
    const { user, role } = this.client.welcome ?? {};
    if (this.phase === "open" && role !== "admin") {
      this.#refused = `the token of ${user} has the role ${role}; the console takes a token of role admin`;
      this.client.close(); // which is a change itself
      return;
    }
    if (this.phase === "open") for (const stream of this.#streams.values()) stream.follow(this.client);
    this.dispatchEvent(new Event("status"));
  }
}
