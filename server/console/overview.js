// Health at a glance: is it well, how busy is it, what needs a look.

import { badge, el, keyed, section, setBadge, setText } from "./dom.js";
import { outcome, title } from "./explain.js";
import { ago, bytes, count, duration, number, times } from "./format.js";
import { loading } from "./loading.js";
import { plot } from "./plot.js";
import { table } from "./table.js";
import { isSlow, whose } from "./connections.js";
import { describe } from "./room.js";
import { statusBadge } from "./rooms.js";

const LOOK_BACK_S = 300;
const SESSIONS = 8;

function tile(label, href = null) {
  const value = el("span", { class: "value", text: "–" });
  const note = el("span", { class: "muted note" });
  const head = el("span", { class: "label", text: label });
  const node = el("li", { class: "tile" }, href ? el("a", { href }, head, value, note) : el("div", {}, head, value, note));
  return {
    node,
    show(text, small = "", tone = "") {
      setText(value, text);
      setText(note, small);
      node.className = `tile ${tone}`;
    },
  };
}

export function overview({ api, link, stats, incidents }, _params, signal) {
  const verdict = el("p", { class: "verdict" });
  const state = badge("…");
  const words = el("span");
  verdict.append(state, words);
  const tiles = {
    connections: tile("Connections", "#/connections"),
    rooms: tile("Rooms", "#/rooms"),
    events: tile("Events per second"),
    deliveries: tile("Deliveries per second"),
    slow: tile("Slow connections", "#/connections"),
    restarts: tile("Restarts", "#/journal"),
    quarantine: tile("In quarantine", "#/quarantine"),
    alerts: tile("Open alerts", "#/alerts"),
  };
  const plots = [
    plot("Throughput", "per second", [
      { label: "deliveries", value: (each) => each.deliveries },
      { label: "events in", value: (each) => each.events },
    ]),
    plot("Lag", "events behind", [
      { label: "slowest", value: (each) => each.lag.max },
      { label: "p50", value: (each) => each.lag.p50 },
    ]),
    plot("Latency", "ms, publish to write", [
      { label: "p99", value: (each) => each.latency.p99 },
      { label: "p50", value: (each) => each.latency.p50 },
    ]),
  ];
  const look = el("ul", { class: "plain-list" });
  const slow = { lines: [], total: "–" };
  const alerts = { lines: [], total: "–" };

  const show = () => {
    const { ready, now, problem } = stats;
    const lately = incidents.within(LOOK_BACK_S);
    if (ready === null) {
      setBadge(state, "not reachable", "bad");
      setText(words, problem ?? "Asking the router …");
    } else {
      setBadge(state, ready.ready ? "ready" : "not ready", ready.ready ? "good" : "bad");
      const why = ready.ready ? "It takes clients and events." : `It takes no new clients or events: ${ready.reason}.`;
      setText(words, `${why} Version ${ready.version}, up ${duration(ready.uptime_s)}; events are kept in ${ready.journal}.`);
      tiles.connections.show(number(ready.connections));
      tiles.rooms.show(number(ready.rooms), now ? count(now.subscriptions, "subscription") : "");
    }
    const last = stats.samples.last;
    tiles.events.show(problem || !last ? "–" : number(last.events));
    tiles.deliveries.show(problem || !last ? "–" : number(last.deliveries));
    if (now !== null) {
      const failures = [...lately.values()].reduce((total, { failed }) => total + failed, 0);
      tiles.restarts.show(number(now.restarts), `${count(failures, "failure")} in 5 min`, failures ? "warn" : "");
      tiles.quarantine.show(number(now.quarantined), "", now.quarantined ? "warn" : "");
    }
    tiles.slow.show(slow.total, "", slow.lines.length ? "warn" : "");
    tiles.alerts.show(alerts.total, "", alerts.lines.length ? "warn" : "");
    plots.forEach((each) => each.show(stats.samples.items));
    showLook(lately);
  };

  const showLook = (lately) => {
    const lines = [...slow.lines, ...alerts.lines];
    const named = ({ kind, actor }) => (kind === "failed" || kind === "restarted") && lately.has(actor);
    for (const group of incidents.grouped(named)) {
      const actor = group.entries.find(named)?.actor;
      const counts = lately.get(actor);
      if (!lately.delete(actor)) continue; // the newest incident of each stands for all of them
      const [word, tone] = outcome(group);
      const often = counts.failed > 1 ? ` (${times(counts.failed)} in the last 5 minutes)` : "";
      const text = `${title(group)}${often}`;
      lines.push({ key: `failed ${actor}`, word, tone: tone === "good" ? "warn" : tone, text, href: `#/journal?actor=${encodeURIComponent(actor)}` });
    }
    if (stats.problem) lines.unshift({ key: "problem", word: "no figures", tone: "bad", text: stats.problem, href: "#/" });
    if (!lines.length) lines.push({ key: "none", word: "all well", tone: "good", text: "Nobody is slow, nothing failed lately, no alert waits.", href: null });
    keyed(
      look,
      lines.slice(0, 12),
      ({ key, href }) => `${key} ${href}`,
      ({ href }) => el("li", {}, badge(""), el(href ? "a" : "span", { href })),
      (node, { word, tone, text }) => {
        setBadge(node.firstChild, word, tone);
        setText(node.lastChild, text);
      },
    );
  };

  const slowOnes = loading("who is slow", 2000, signal, () => api.get("/v1/connections", { sort: "lag", limit: 100 }), (answer) => {
    const behind = answer.connections.filter(isSlow);
    slow.total = `${number(behind.length)}${behind.length === 100 ? "+" : ""}`;
    slow.lines = behind
      .slice(0, 3)
      .map((each) => ({
        key: `slow ${each.id}`,
        word: "slow",
        tone: "warn",
        text: `${whose(each)} is ${count(each.lag, "event")} behind, ${bytes(each.outbox_bytes)} wait to be read (connection ${each.id})`,
        href: `#/connections/${encodeURIComponent(each.id)}`,
      }));
  });
  const alerting = loading("alerts", 2000, signal, () => api.get("/v1/alerts", { limit: 100 }), (answer) => {
    alerts.total = `${number(answer.alerts.length)}${answer.more ? "+" : ""}`;
    alerts.lines = answer.alerts.slice(0, 3).map((each) => ({
      key: `alert ${each.room} ${each.event_id}`,
      word: `${each.severity} alert`,
      tone: each.severity === "critical" || each.severity === "high" ? "bad" : "warn",
      text: `${each.title} (${each.room})`,
      href: "#/alerts",
    }));
  });

  const sessions = table(
    "Sessions that were heard of last",
    [
      { head: "Session", class: "name", make: () => el("a"), update: roomLink },
      { head: "Status", make: () => badge(""), update: (node, room) => statusBadge(node, room.status) },
      { head: "What it does", class: "wide", text: (room) => (room.state ? describe(room.state) : "–") },
      { head: "Watched by", class: "num", text: (room) => number(room.subscribers) },
      { head: "Last event", class: "num", text: (room) => ago(room.last_event_at) },
    ],
    (room) => room.room,
    "There is no session now.",
  );
  const latest = loading("sessions", 2000, signal, () => heard(api, link.client), sessions.show);

  const recent = el("ul", { class: "plain-list" });
  const showRecent = () => {
    const groups = incidents.grouped().slice(0, 5);
    keyed(
      recent,
      groups.length ? groups : [null],
      (group) => group?.key ?? "none",
      (group) => el("li", {}, badge(""), el(group ? "a" : "span", group ? { href: `#/journal?find=${encodeURIComponent(group.first.actor ?? "")}` } : {}), el("span", { class: "muted" })),
      (node, group) => {
        const [mark, text, when] = node.children;
        setBadge(mark, ...(group ? outcome(group) : ["none", "plain"]));
        setText(text, group ? title(group) : "The supervisor has written nothing yet.");
        setText(when, group ? ago(group.last.time) : "");
      },
    );
  };
  stats.addEventListener("change", () => { show(); showRecent(); }, { signal });
  incidents.addEventListener("change", () => { show(); showRecent(); }, { signal });
  show();
  showRecent();

  return el(
    "div",
    {},
    el("h1", { text: "Overview", tabindex: "-1" }),
    verdict,
    section("What needs a look", slowOnes.node, alerting.node, look),
    section("Figures", el("ul", { class: "tiles", "aria-label": "Figures" }, ...Object.values(tiles).map((each) => each.node))),
    section("The last five minutes", el("div", { class: "plots" }, ...plots.map((each) => each.node))),
    section("Sessions", latest.node, sessions.node),
    section("What the supervisor did last", recent),
  );
}

/** The sessions that were heard of last, each with its state. */
async function heard(api, client) {
  const answer = await api.get("/v1/rooms", { prefix: "session:", limit: 500 });
  const last = answer.rooms.toSorted((one, other) => (other.last_event_at ?? "").localeCompare(one.last_event_at ?? ""));
  const shown = last.slice(0, SESSIONS).toSorted((one, other) => one.room.localeCompare(other.room));
  const states = await Promise.allSettled(shown.map(({ room }) => client.state(room)));
  return shown.map((room, place) => ({ ...room, state: states[place].value?.state ?? null }));
}

function roomLink(node, room) {
  node.href = `#/rooms/${encodeURIComponent(room.room)}`;
  setText(node, room.room);
}
