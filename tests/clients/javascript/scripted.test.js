// The client against a router that does what the test says, over real sockets.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import * as postroom from "../../../clients/javascript/postroom.js";
import { QUICK, take, until, within } from "./stage.js";

const WELCOME = {
  type: "welcome",
  connection: "c1",
  user: "ann",
  role: "user",
  protocol: 1,
  heartbeat_s: 25,
  expires_at: null,
  limits: { message_bytes: 65_536, rooms: 128, outbox_bytes: 1_048_576 },
  rooms: {},
};
const ATTACHED = { type: "subscribed", epoch: "a", offset: 5, recovery: "fresh", replay: 0, state: { status: null } };

/** A router: `answer(message, peer, place)` is asked about each message of the peer that connected at that place. */
async function router(t, answer) {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => "postroom.v1" });
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const heard = [];
  let peers = 0;
  server.on("connection", (socket) => {
    const place = (peers += 1);
    const peer = {
      send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
      event: (offset, prev) => peer.send({ type: "event", room: "session:1", offset, prev, id: `${offset}`, kind: "app.x", time: "", data: {} }),
      close: (code, reason) => socket.close(code, reason),
    };
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      heard.push(message);
      answer(message, peer, place);
    });
  });
  await once(server, "listening");
  const open = (options = {}) =>
    postroom.connect(`ws://127.0.0.1:${server.address().port}`, { WebSocket, backoff: QUICK, ...options });
  return { heard, open, types: () => heard.map(({ type }) => type) };
}

test("a broken chain is asked for again from the last good position, and is a gap if it is broken still", async (t) => {
  const { open, heard } = await router(t, ({ type, id, room, after }, peer) => {
    if (type === "hello") peer.send(WELCOME);
    if (type === "unsubscribe") peer.send({ type: "unsubscribed", id, room });
    if (type === "subscribe") {
      peer.send({ ...ATTACHED, id, room, recovery: after ? "full" : "fresh" });
      if (after === undefined) peer.event(6, 5);
      peer.event(9, 8);
    }
  });
  const client = await open();
  t.after(() => client.close());
  const warnings = [];
  client.addEventListener("warning", ({ detail }) => warnings.push(detail.message));
  const subscription = await client.subscribe("session:1");
  assert.equal((await take(subscription, 1))[0].offset, 6);
  await assert.rejects(within(subscription.next()), (error) => {
    assert.ok(error instanceof postroom.GapError);
    assert.deepEqual(error.gap.missing, { from: 7, to: 8 });
    return error.gap.reason === "broken_chain";
  });
  assert.equal((await take(subscription, 1))[0].offset, 9);
  assert.deepEqual(heard.map(({ type }) => type), ["hello", "subscribe", "unsubscribe", "subscribe"]);
  assert.deepEqual(heard[3].after, { epoch: "a", offset: 6 });
  assert.equal(warnings.length, 1);
});

test("it comes back after each close code that the reference says so of, and after no other", async (t) => {
  const page = readFileSync(new URL("../../../docs/reference/errors.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\d{4}) \| [^|]+ \| (yes|no)/gm)];
  assert.ok(rows.length > 10);
  for (const [, code, back] of rows) {
    if (code === "1002") continue; // of the WebSocket layer
    const { open } = await router(t, (message, peer, place) => {
      if (message.type === "hello") peer.send(WELCOME);
      if (message.type === "ping" && place === 1) peer.close(Number(code), "for a test");
      else if (message.type === "ping") peer.send({ type: "pong", id: message.id, time: "now" });
    });
    const client = await open({ token: () => "fresh" });
    const pinging = within(client.ping(), `an end of ${code}`);
    if (back === "yes") assert.equal(await pinging, "now", code);
    else await assert.rejects(pinging, { name: code === "4401" ? "Unauthenticated" : "ConnectionEnded", code: Number(code) });
    await client.close();
  }
});

test("a token that cannot be renewed ends with it", async (t) => {
  const { open } = await router(t, ({ type }, peer) => {
    if (type === "hello") peer.send(WELCOME);
    else peer.close(4410, "");
  });
  const client = await open({ token: "fixed" });
  await assert.rejects(within(client.ping()), { name: "Unauthenticated", code: 4410, reason: /no function/ });
  assert.equal(client.phase, "ended");
});

test("a router that falls silent is left for another connection", async (t) => {
  const { open } = await router(t, ({ type }, peer) => type === "hello" && peer.send({ ...WELCOME, heartbeat_s: 0.05 }));
  const client = await open();
  t.after(() => client.close());
  await until(client, "status", () => client.reason === "the router does not answer");
  await until(client, "status", () => client.phase === "open");
});

test("a command without an answer is sent again on the next connection, with the same event id", async (t) => {
  const { open, heard } = await router(t, (message, peer, place) => {
    if (message.type === "hello") peer.send(WELCOME);
    else if (place === 1) peer.close(1011, "");
    else peer.send({ type: "published", id: message.id, room: message.room, epoch: "a", offset: 1, event_id: message.event_id, duplicate: false });
  });
  const client = await open();
  t.after(() => client.close());
  const receipt = await within(client.publish("session:1", "app.x", { n: 1 }));
  const sent = heard.filter(({ type }) => type === "publish");
  assert.equal(sent.length, 2);
  assert.deepEqual(sent[0], sent[1]);
  assert.match(receipt.event_id, /^[0-9a-f]{32}$/);
});

test("what is answered too late to be wanted is left again", async (t) => {
  let late;
  let left;
  const leaving = new Promise((resolve) => (left = resolve));
  const { open } = await router(t, ({ type, id, room }, peer) => {
    if (type === "hello") peer.send(WELCOME);
    if (type === "subscribe") late = () => peer.send({ ...ATTACHED, id, room });
    if (type === "unsubscribe") left(room);
  });
  const client = await open({ commandTimeoutMs: 200 });
  t.after(() => client.close());
  await assert.rejects(client.subscribe("session:1"), { name: "CommandTimeout", command: "subscribe" });
  assert.deepEqual(client.rooms, []);
  late();
  assert.equal(await within(leaving), "session:1");
});

test("a room that the router joins while it is being asked for is left for what was asked", async (t) => {
  let joined = false;
  const { open, heard } = await router(t, ({ type, id, room }, peer, place) => {
    if (type === "hello") {
      joined = place === 2;
      peer.send(joined ? { ...WELCOME, rooms: { broadcast: { epoch: "a", offset: 7, recovery: "fresh", replay: 0, state: {} } } } : WELCOME);
    } else if (place === 1) {
      peer.close(1011, "");
    } else if (type === "unsubscribe") {
      joined = false;
    } else if (joined) {
      peer.send({ type: "error", id, code: "already_subscribed", message: "", temporary: false });
    } else {
      peer.send({ ...ATTACHED, id, room, offset: 7, replay: 1 });
      peer.send({ type: "event", room, offset: 7, prev: 6, id: "7", kind: "app.x", time: "", data: {} });
    }
  });
  const client = await open();
  t.after(() => client.close());
  const broadcast = await within(client.subscribe("broadcast", { history: 5 }));
  assert.equal((await take(broadcast, 1))[0].offset, 7);
  assert.deepEqual(heard.map(({ type }) => type), ["hello", "subscribe", "hello", "subscribe", "unsubscribe", "subscribe"]);
  assert.equal(heard[5].history, 5);
});

test("a room that the router joins anew while it is being left is left all the same", async (t) => {
  const rooms = { broadcast: { epoch: "a", offset: 7, recovery: "fresh", replay: 0, state: {} } };
  const { open } = await router(t, ({ type, id, room }, peer, place) => {
    if (type === "hello") peer.send({ ...WELCOME, rooms });
    else if (place === 1) peer.close(1011, "");
    else peer.send({ type: "unsubscribed", id, room });
  });
  const client = await open();
  t.after(() => client.close());
  await within((await client.subscribe("broadcast")).unsubscribe());
  assert.deepEqual(client.rooms, []);
});

test("a room that cannot be attached for now is asked for again, and one that may not be ends", async (t) => {
  const refusals = ["busy", "not_subscribed", "forbidden"];
  const { open, types } = await router(t, ({ type, id, room }, peer, place) => {
    if (type === "hello") peer.send(WELCOME);
    if (type === "subscribe" && place === 1) peer.send({ ...ATTACHED, id, room });
    else if (type === "subscribe") {
      const code = refusals.shift();
      peer.send({ type: "error", id, code, message: "no", temporary: code === "busy", retry_after_ms: 1 });
    }
    if (type === "ping" && place === 1) peer.close(1011, "");
  });
  const client = await open();
  t.after(() => client.close());
  const subscription = await client.subscribe("session:1");
  client.ping().catch(() => {});
  await assert.rejects(within(subscription.next()), { name: "Revoked", reason: /forbidden/ });
  assert.equal(types().filter((type) => type === "subscribe").length, 4);
  assert.deepEqual(client.rooms, []);
});

test("what is not the protocol breaks the connection, and a refusal for now is asked again", async (t) => {
  const answers = ["no json", { type: "error", id: 0, code: "busy", message: "", temporary: true, retry_after_ms: 1 }, WELCOME];
  const { open, heard } = await router(t, (message, peer, place) => peer.send(answers[place - 1]));
  const client = await open();
  await client.close();
  assert.equal(heard.length, 3);
});

test("a refusal for good ends it at once, and no answer at all after the time for it", async (t) => {
  const { open } = await router(t, (message, peer) => peer.send({ type: "error", id: 0, code: "unauthenticated", message: "bad token" }));
  await assert.rejects(open(), { name: "Unauthenticated", code: 4401, reason: "bad token" });
  const silent = await router(t, () => {});
  await assert.rejects(silent.open({ connectTimeoutMs: 50 }), { name: "ConnectFailed" });
  await assert.rejects(postroom.connect("no address", { WebSocket }), { name: "ConnectFailed" });
});

test("where there is no WebSocket it says what to do", async () => {
  const own = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    await assert.rejects(postroom.connect("ws://127.0.0.1:1/v1/ws"), /npm install ws/);
  } finally {
    if (own) globalThis.WebSocket = own;
  }
});

test("a token function that fails ends the first connection, and later ones are tried again", async (t) => {
  const { open } = await router(t, ({ type, id }, peer, place) => {
    if (type === "hello") peer.send(WELCOME);
    else if (place === 1) peer.close(1011, "");
    else peer.send({ type: "pong", id, time: "now" });
  });
  await assert.rejects(open({ token: () => Promise.reject(new Error("no key")) }), /no key/);
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked === 2) throw new Error("not now");
    return "fresh";
  };
  const client = await open({ token });
  t.after(() => client.close());
  assert.equal(await within(client.ping()), "now");
  assert.equal(asked, 3);
});

test("a command that is too long, or one of too many, is not sent", async (t) => {
  const { open, types } = await router(t, ({ type }, peer) => type === "hello" && peer.send(WELCOME));
  const client = await open();
  await assert.rejects(client.publish("session:1", "app.x", { text: "ä".repeat(40_000) }), { code: "too_large" });
  const waiting = Array.from({ length: 1_000 }, () => client.state("session:1"));
  await assert.rejects(client.state("session:1"), { code: "busy", temporary: true });
  const ends = Promise.allSettled(waiting);
  await client.close();
  assert.ok((await ends).every(({ reason }) => reason.name === "ClientClosed"));
  assert.ok(!types().includes("publish"));
});

test("what is read of a room's ended stream wakes nothing of the one that came after it", async (t) => {
  let told = null;
  let offset = 5;
  const { open } = await router(t, ({ type, id, room, after }, peer) => {
    told = peer;
    if (type === "hello") peer.send(WELCOME);
    if (type === "ping") peer.send({ type: "pong", id, time: "" });
    if (type !== "subscribe") return;
    peer.send({ ...ATTACHED, id, room, offset, recovery: after ? "full" : "fresh", replay: 0 });
    for (let next = (after?.offset ?? offset) + 1; next <= offset; next += 1) peer.event(next, next - 1);
  });
  const client = await open({ buffer: 2 });
  t.after(() => client.close());
  const ended = await client.subscribe("session:1");
  for (offset = 6; offset <= 7; offset += 1) told.event(offset, offset - 1);
  offset = 7;
  told.send({ type: "revoked", room: "session:1", reason: "a test" });
  await client.ping();
  const next = await client.subscribe("session:1");
  for (const each of [8, 9, 10]) told.event(each, each - 1);
  offset = 10;
  await client.ping();
  await take(ended, 2);
  assert.deepEqual(
    (await take(next, 3)).map((event) => event.offset),
    [8, 9, 10],
  );
});

test("a thousand commands that wait keep no heartbeat from the router", async (t) => {
  const beats = new EventTarget();
  let count = 0;
  const { open } = await router(t, ({ type, id }, peer) => {
    if (type === "hello") peer.send({ ...WELCOME, heartbeat_s: 0.05 });
    if (type !== "ping") return;
    peer.send({ type: "pong", id, time: "" });
    count += 1;
    beats.dispatchEvent(new Event("beat"));
  });
  const client = await open();
  t.after(() => client.close());
  const waiting = Promise.allSettled(Array.from({ length: 1000 }, () => client.state("session:1")));
  await until(beats, "beat", () => count >= 3);
  assert.equal(client.phase, "open");
  await client.close();
  await waiting;
});
