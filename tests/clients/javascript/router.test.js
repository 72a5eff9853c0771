// The client against a real router, through cuts, kills, drains and everything else that happens.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { api, client, count, numbers, order, range, room, take, token, until, WAIT_MS, within } from "./stage.js";

test("a subscriber gets the state, and then what is published", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  assert.deepEqual([one.welcome.user, one.welcome.role], ["tester", "user"]);
  assert.deepEqual([subscription.room, subscription.recovery, subscription.position.offset], [name, "fresh", 0]);
  assert.equal(subscription.state.status, null);
  const receipt = await one.publish(name, "build.finished", { artifact: "a.tar" }, { eventId: "mine" });
  const [event] = await take(subscription, 1);
  assert.deepEqual([event.id, event.kind, event.data, event.prev], ["mine", "build.finished", { artifact: "a.tar" }, 0]);
  assert.deepEqual(subscription.position, { epoch: receipt.epoch, offset: receipt.offset });
  assert.equal((await one.publish(name, "build.finished", {}, { eventId: "mine" })).duplicate, true);
});

test("state, history, presence and ping are answered, and refusals are errors", async (t) => {
  const name = room();
  const one = await client(t);
  await assert.rejects(one.state(name), { name: "CommandError", code: "not_found", temporary: false });
  await count(name, 0, 6);
  assert.equal((await one.state(name)).state.counts["app.count"], 6);
  const page = await one.history(name, { after: 2, limit: 3 });
  assert.deepEqual([numbers(page.events), page.more], [[2, 3, 4], true]);
  const subscription = await one.subscribe(name);
  assert.deepEqual((await one.presence(name)).members, [{ user: "tester", connections: 1 }]);
  assert.ok(!Number.isNaN(Date.parse(await one.ping())));
  await assert.rejects(one.subscribe(name), { code: "already_subscribed" });
  assert.throws(() => one.joined("session:another"), { code: "not_subscribed" });
  await subscription.unsubscribe();
});

test("an alert is acknowledged", async (t) => {
  const name = room();
  const one = await client(t);
  const alerts = await one.subscribe(name, { kinds: ["alert", "alert.acknowledged"] });
  const { event_id: id } = await one.publish(name, "alert", { severity: "low", title: "disk" }, { ack: "required" });
  assert.equal((await take(alerts, 1))[0].ack, "required");
  await one.ack(name, id);
  assert.equal((await take(alerts, 1))[0].data.event_id, id);
});

test("a stream survives cuts without loss or repeat", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  const filtered = await one.subscribe(`${name}-2`, { kinds: ["app.count"] });
  const seen = [[], []];
  for (const start of range(0, 8).map((turn) => turn * 30)) {
    const publishing = [count(name, start, start + 30), count(`${name}-2`, start, start + 30)];
    if (start % 60) await order("cut");
    await Promise.all(publishing);
    seen[0].push(...(await take(subscription, 30)));
    seen[1].push(...(await take(filtered, 30)));
  }
  assert.deepEqual(seen.map(numbers), [range(0, 240), range(0, 240)]);
  assert.equal(subscription.recovery, "full");
});

test("after a kill and a restart of the router it is resumed in full", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  await count(name, 0, 100);
  const before = await take(subscription, 40);
  const { connection } = one.welcome;
  const reattached = until(subscription, "attached", () => true);
  await order("restart", { hard: true });
  await reattached;
  await count(name, 100, 120);
  const after = await take(subscription, 80);
  assert.deepEqual(numbers([...before, ...after]), range(0, 120));
  assert.equal(subscription.recovery, "full");
  assert.notEqual(one.welcome.connection, connection);
});

test("a router that drains gives a slot, and the client comes back in it", async (t) => {
  const name = room();
  const one = await client(t, { backoff: { floorMs: 600_000, capMs: 600_000 } }); // any other delay is too long
  const subscription = await one.subscribe(name);
  await count(name, 0, 5);
  const slots = [];
  one.addEventListener("notice", ({ detail }) => slots.push([detail.code, typeof detail.reconnect_in_ms]));
  const delays = [];
  one.addEventListener("status", () => {
    if (one.phase !== "waiting") return;
    delays.push(one.retryAt - Date.now());
    if (delays.length > 1) setTimeout(() => one.retryNow(), 50); // the slot was before the router was back
  });
  await order("restart", { hard: false });
  await until(one, "status", () => one.phase === "open");
  assert.deepEqual(numbers(await take(subscription, 5)), range(0, 5));
  assert.deepEqual([slots, subscription.recovery, one.draining], [[["draining", "number"]], "full", false]);
  assert.ok(delays[0] < 60_000, `${delays}`);
});

test("a token function is asked again before the token ends", async (t) => {
  let asked = 0;
  const renewed = async () => {
    asked += 1;
    return token("tester", "user", asked === 1 ? 20 : 3600); // shorter than the router's warning time: told at once
  };
  const one = await client(t, { token: renewed });
  const first = one.expiresAt;
  await until(one, "status", () => one.expiresAt > first);
  assert.equal(asked, 2);
});

test("a fixed token is refreshed by hand", async (t) => {
  const one = await client(t, { token: await token("tester", "user", 20) });
  const ends = await one.refresh(await token("tester", "user", 3600));
  assert.equal(one.expiresAt, ends);
  assert.ok(Date.parse(ends) > Date.now() + 1_000_000);
  await assert.rejects(one.refresh("forged"), { code: "unauthenticated" });
});

test("a token that is not taken ends the client", async (t) => {
  await assert.rejects(client(t, { token: "forged" }), { name: "Unauthenticated" });
});

test("what is left out is told as skipped, and no gap", async (t) => {
  const name = room();
  const one = await client(t);
  const alerts = await one.subscribe(name, { kinds: ["app.alert"] });
  const markers = [];
  alerts.addEventListener("skipped", ({ detail }) => markers.push([detail.from, detail.to, detail.reason]));
  await count(name, 0, 3);
  await count(name, 3, 4, "app.alert");
  assert.deepEqual(numbers(await take(alerts, 1)), [3]);
  assert.deepEqual([markers[0][0], markers.at(-1)[1], markers[0][2]], [1, 3, "filtered"]);
  const position = (await one.state(name)).offset;
  await count(`${name}-2`, 0, 20, "app.value", { delivery: "latest" });
  const { epoch } = await one.state(`${name}-2`);
  const values = await one.subscribe(`${name}-2`, { after: { epoch, offset: 5 } });
  assert.deepEqual([numbers(await take(values, 1)), values.recovery, position], [[19], "full", 4]);
});

test("an operator takes a room away, and the iteration ends with it", async (t) => {
  const name = room();
  const one = await client(t, { token: await token("ada", "user") });
  await api("PUT", `/v1/users/ada/rooms/${encodeURIComponent(name)}`);
  await one.state(name); // whose answer comes after what the router said before
  assert.ok(one.rooms.includes(name));
  const given = one.joined(name);
  await count(name, 0, 1);
  assert.deepEqual(numbers(await take(given, 1)), [0]);
  await api("DELETE", `/v1/users/ada/rooms/${encodeURIComponent(name)}`);
  await assert.rejects(within(given.next()), { name: "Revoked", room: name });
  const again = await one.subscribe(name);
  const ended = until(again, "ended", () => true);
  again.addEventListener("event", () => {});
  await api("DELETE", `/v1/rooms/${encodeURIComponent(name)}`);
  await ended;
  assert.equal(again.error.name, "Revoked");
});

test("an iteration ends where the room is left, and the room can be subscribed again", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  await count(name, 0, 3);
  assert.deepEqual(numbers(await take(subscription, 2)), [0, 1]);
  const { position } = subscription;
  await subscription.unsubscribe();
  await subscription.unsubscribe();
  assert.deepEqual(await subscription.next(), { value: undefined, done: true });
  const again = await one.subscribe(name, { after: position });
  const seen = [];
  for await (const event of again) {
    seen.push(event);
    if (seen.length === 1) await count(name, 3, 5);
    if (seen.length === 3) break;
  }
  assert.deepEqual([numbers(seen), again.recovery], [[2, 3, 4], "full"]);
});

test("who is slow holds no more than its buffer, and gets everything", async (t) => {
  const name = room();
  const one = await client(t, { buffer: 16 });
  const slow = await one.subscribe(name);
  const other = await one.subscribe(`${name}-2`);
  const seen = [];
  for (const start of [0, 100]) {
    await count(name, start, start + 100);
    await count(`${name}-2`, start, start + 10);
    assert.equal((await take(other, 10)).length, 10); // which comes after what the slow one was sent
    assert.ok(slow.buffered <= 16, `${slow.buffered}`);
    while (seen.length < start + 100) {
      seen.push(...(await take(slow, 1)));
      assert.ok(slow.buffered <= 16, `${slow.buffered}`);
    }
  }
  assert.deepEqual(numbers(seen), range(0, 200));
});

test("a program that does not read for long is closed by the router, and comes back to all of it", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  await order("flood", { room: name, events: 150, size: 50_000 });
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const given = performance.now() + WAIT_MS;
  const isSlow = () => readFileSync(process.env.ROUTER_LOG, "utf8").includes('"event": "slow_consumer"');
  while (!isSlow() && performance.now() < given) Atomics.wait(cell, 0, 0, 20); // the whole program stands still
  const { connection } = one.welcome;
  assert.deepEqual(numbers(await take(subscription, 150)), range(0, 150));
  assert.notEqual(one.welcome.connection, connection);
});

test("what has left the history is a gap: thrown once, or told, as was asked for", async (t) => {
  const name = room();
  const one = await client(t);
  const { results } = await count(name, 0, 10);
  await count(name, 10, 700);
  const after = { epoch: results[0].epoch, offset: 5 };
  const raising = await one.subscribe(name, { after });
  await assert.rejects(within(raising.next()), (error) => error.name === "GapError" && error.gap.missing.from === 6);
  assert.equal(raising.recovery, "partial");
  const [first] = await take(raising, 1);
  assert.deepEqual([first.data.number, raising.position.offset], [first.offset - 1, first.offset]);
  await raising.unsubscribe();
  const told = await one.subscribe(name, { after: { epoch: "another", offset: 5 }, gaps: "report" });
  const gaps = [];
  told.addEventListener("gap", ({ detail }) => gaps.push(detail));
  await count(name, 700, 701);
  assert.deepEqual(numbers(await take(told, 1)), [700]);
  assert.deepEqual([gaps[0].reason, gaps[0].missing, told.recovery], ["new_epoch", null, "none"]);
});

test("listeners get what waited and what comes, and an iteration beside them is refused", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  await count(name, 0, 2);
  await one.ping();
  const heard = [];
  const done = new Promise((resolve) => {
    subscription.addEventListener("event", ({ detail }) => {
      heard.push(detail.data.number);
      if (heard.length === 4) resolve();
    });
  });
  await count(name, 2, 4);
  await within(done);
  assert.deepEqual([heard, subscription.buffered, subscription.position.offset], [range(0, 4), 0, 4]);
  await assert.rejects(subscription.next(), { name: "PostroomError" });
  const ends = [];
  subscription.addEventListener("ended", () => ends.push(subscription.error));
  const left = new Promise((resolve) => {
    subscription.addEventListener("event", () => resolve(subscription.unsubscribe()));
  });
  await count(name, 4, 6);
  await within(left);
  assert.deepEqual([ends, heard.slice(0, 5)], [[null], range(0, 5)]);
});

test("the rooms that everyone is in are there, and can be resumed from an earlier run", async (t) => {
  const one = await client(t);
  assert.deepEqual([...one.rooms].sort(), ["broadcast", "role:user", "system", "user:tester"]);
  const mine = one.joined("user:tester");
  await count("user:tester", 0, 2);
  assert.deepEqual(numbers(await take(mine, 1)), [0]);
  assert.equal(one.joined("user:tester"), mine);
  const { position } = mine;
  await one.close();
  const two = await client(t, { resume: { "user:tester": position } });
  assert.deepEqual(numbers(await take(two.joined("user:tester"), 1)), [1]);
  assert.equal(two.joined("user:tester").recovery, "full");
});

test("an operator who closes the connection ends it for good, and close ends what waits", async (t) => {
  const name = room();
  const one = await client(t);
  const subscription = await one.subscribe(name);
  const waiting = subscription.next();
  const ended = assert.rejects(within(waiting), { name: "ConnectionEnded", code: 4009 });
  await api("DELETE", `/v1/connections/${one.welcome.connection}`);
  await ended;
  assert.deepEqual([one.phase, one.error.code], ["ended", 4009]);
  await assert.rejects(one.ping(), { name: "ConnectionEnded" });
  const two = await client(t);
  const quiet = (await two.subscribe(name)).next();
  await two.close();
  assert.deepEqual(await quiet, { value: undefined, done: true });
  await assert.rejects(two.state(name), { name: "ClientClosed" });
});
