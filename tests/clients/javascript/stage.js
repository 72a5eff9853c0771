// The stage that pytest sets: a real router, the lines to it, and tokens for it. And waits that end.

import { randomBytes } from "node:crypto";
import { WebSocket } from "ws";
import { connect } from "../../../clients/javascript/postroom.js";

export const WAIT_MS = 15_000;
export const QUICK = { floorMs: 5, capMs: 100 };
const { STAGE, API_URL } = process.env;

/** Let the stage do something: see `tests/clients/stage.py`. */
export async function order(what, fields = {}) {
  const response = await fetch(`${STAGE}/${what}`, { method: "POST", body: JSON.stringify(fields) });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${what}: ${answer}`);
  return JSON.parse(answer);
}

export const room = (prefix = "session") => `${prefix}:${randomBytes(6).toString("hex")}`;

/** A token of that user, who may do everything in every room. */
export async function token(user = "tester", role = "user", ttl_s = 3600) {
  return (await order("token", { user, role, ttl_s })).token;
}

/** Ask the router's HTTP API, as an admin. */
export async function api(method, path, body) {
  const headers = { Authorization: `Bearer ${await token("boss", "admin")}`, "Content-Type": "application/json" };
  const response = await fetch(`${API_URL}${path}`, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
  return response.json();
}

/** Publish `{number}` for all numbers from `from` up to `to`. */
export function count(name, from, to, kind = "app.count", more = {}) {
  const numbers = Array.from({ length: to - from }, (_, place) => from + place);
  return api("POST", "/v1/publish", numbers.map((number) => ({ room: name, kind, data: { number }, ...more })));
}

/** Connect over a line of the stage, for the length of a test. */
export async function client(t, options = {}) {
  const made = await connect((await order("line")).url, {
    WebSocket,
    backoff: QUICK,
    token: await token(),
    ...options,
  });
  t.after(() => made.close());
  return made;
}

/** The promise's value, or an error when it takes too long. */
export function within(promise, what = "it") {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${WAIT_MS / 1000} s`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next `many` events. */
export async function take(subscription, many) {
  const events = [];
  while (events.length < many) {
    const { value, done } = await within(subscription.next(), `event ${events.length + 1} of ${many}`);
    if (done) throw new Error(`the iteration ended after ${events.length} of ${many}`);
    events.push(value);
  }
  return events;
}

export const numbers = (events) => events.map(({ data }) => data.number);

export const range = (from, to) => Array.from({ length: to - from }, (_, place) => from + place);

/** Wait until something is so; it is asked at each event of that type. */
export function until(target, type, isSo) {
  const found = new Promise((resolve) => {
    const look = (event) => {
      if (!isSo(event)) return;
      target.removeEventListener(type, look);
      resolve(event);
    };
    target.addEventListener(type, look);
    if (type === "status") look();
  });
  return within(found, `a ${type} like that`);
}
