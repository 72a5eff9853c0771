// The chain check and the delays, without a router.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as postroom from "../../../clients/javascript/postroom.js";

const { Chain, backoffMs } = postroom;
const at = (offset, epoch = "a") => ({ epoch, offset });
const attached = (offset, more = {}) => ({ ...at(offset), recovery: "fresh", replay: 0, ...more });

test("the next event moves the position and one that was seen is a duplicate", () => {
  const chain = new Chain("session:1");
  assert.equal(chain.attach(attached(5)), null);
  assert.equal(chain.event(6, 5), "next");
  assert.equal(chain.event(6, 5), "duplicate");
  assert.deepEqual(chain.position, at(6));
});

test("what does not follow is broken and does not move the position", () => {
  const chain = new Chain("session:1");
  chain.attach(attached(5));
  assert.equal(chain.event(9, 8), "broken");
  assert.deepEqual(chain.position, at(5));
  const gap = chain.acceptBreak(9, 8);
  assert.deepEqual(gap, { room: "session:1", reason: "broken_chain", last: at(5), next: at(8), missing: { from: 6, to: 8 } });
  assert.equal(chain.event(10, 9), "next");
});

test("a marker moves the position and may end between two events", () => {
  const chain = new Chain("session:1");
  chain.attach(attached(5));
  assert.equal(chain.skip(12), true);
  assert.equal(chain.skip(12), false);
  assert.equal(chain.event(15, 11), "next");
  assert.equal(chain.event(17, 14), "broken");
});

test("a replay that was asked for by number begins anywhere", () => {
  const chain = new Chain("session:1");
  assert.equal(chain.attach(attached(9, { replay: 3 })), null);
  assert.equal(chain.position, null);
  assert.equal(chain.event(7, 6), "next");
  assert.equal(chain.event(8, 7), "next");
});

test("a full recovery goes on after the position that was asked for", () => {
  const chain = new Chain("session:1", at(3));
  assert.equal(chain.attach(attached(9, { recovery: "full", replay: 6 }), at(3)), null);
  assert.equal(chain.event(4, 3), "next");
});

test("a partial recovery names what is missing", () => {
  const chain = new Chain("session:1", at(3));
  const gap = chain.attach(attached(20, { recovery: "partial", missing: { from: 4, to: 17 } }), at(3));
  assert.deepEqual(gap, { room: "session:1", reason: "expired", last: at(3), next: at(17), missing: { from: 4, to: 17 } });
  assert.equal(chain.event(18, 16), "next");
});

test("another epoch is a gap of nobody knows what", () => {
  const chain = new Chain("session:1", at(3));
  const gap = chain.attach({ ...at(2, "b"), recovery: "none", replay: 0 }, at(3));
  assert.deepEqual(gap, { room: "session:1", reason: "new_epoch", last: at(3), next: at(2, "b"), missing: null });
  assert.equal(chain.event(3, 2), "next");
  assert.deepEqual(chain.position, at(3, "b"));
});

test("delays are random between the floor and a bound that doubles up to the cap", () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => backoffMs(attempt, {}, () => 1));
  assert.deepEqual(longest, [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000]);
  assert.equal(backoffMs(5, {}, () => 0), 500);
  assert.equal(backoffMs(1, {}, () => 0.5), 750);
  assert.equal(backoffMs(9, { floorMs: 10, capMs: 5 }, () => 1), 10);
});

test("the types name exactly what the module exports", () => {
  const types = readFileSync(new URL("../../../clients/javascript/postroom.d.ts", import.meta.url), "utf8");
  const declared = [...types.matchAll(/^export (?:declare )?(?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(postroom).sort());
});

test("the package has the module's version and the Python client's", () => {
  const read = (path) => readFileSync(new URL(`../../../clients/${path}`, import.meta.url), "utf8");
  const manifest = JSON.parse(read("javascript/package.json"));
  assert.equal(manifest.version, postroom.VERSION);
  assert.ok(read("python/postroom_client/_version.py").includes(`"${postroom.VERSION}"`));
  assert.equal(manifest.dependencies, undefined);
});

test("every error is a PostroomError with its own name", () => {
  const errors = Object.entries(postroom).filter(([, each]) => each.prototype instanceof Error);
  assert.equal(errors.length, 9);
  for (const [name, Kind] of errors) {
    const error = new Kind("a", "b");
    assert.ok(error instanceof postroom.PostroomError);
    assert.equal(error.name, name);
  }
  assert.ok(new postroom.Unauthenticated(4401, "") instanceof postroom.ConnectionEnded);
});
