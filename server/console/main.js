// The page: connects, shows the view that the address names, and says how the connection is.

import { alerts } from "./alerts.js";
import { Api } from "./api.js";
import { Client } from "./client.js";
import { connection, connections } from "./connections.js";
import { badge, button, el, setBadge, setText } from "./dom.js";
import { duration } from "./format.js";
import { Incidents } from "./incidents.js";
import { journal } from "./journal.js";
import { keepToken, login, renewal, token } from "./login.js";
import { overview } from "./overview.js";
import { every } from "./poll.js";
import { quarantine } from "./quarantine.js";
import { room } from "./room.js";
import { rooms } from "./rooms.js";
import { Stats } from "./stats.js";
import { supervision } from "./supervision.js";

const JOURNAL = "system:supervisor";
const NEWS_MS = 8000;
const VIEWS = [
  { path: "/", name: "Overview", view: overview },
  { path: "/supervision", name: "Supervision", view: supervision },
  { path: "/journal", name: "Journal", view: journal },
  { path: "/rooms", name: "Rooms", view: rooms, one: room, part: "room" },
  { path: "/connections", name: "Connections", view: connections, one: connection, part: "id" },
  { path: "/quarantine", name: "Quarantine", view: quarantine },
  { path: "/alerts", name: "Alerts", view: alerts },
];
const byId = (id) => document.getElementById(id);

const api = new Api(token);
const client = new Client(openSocket, token);
const stats = new Stats();
const incidents = new Incidents();
const page = { api, client, stats, incidents, say };
const main = byId("main");
const door = login((value) => {
  keepToken(value);
  client.start();
});
const content = el("div", {});
const mark = badge("…");
let leaving = null; // ends what the view of now does
let polling = null;
let silence = null;

main.append(door.node, content);
byId("status").append(mark);
byId("views").append(...VIEWS.map(({ path, name }) => el("li", {}, el("a", { href: `#${path}`, text: name }))));
byId("logout").addEventListener("click", () => {
  leave();
  keepToken(null);
  client.start();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

async function openSocket() {
  const { ws_port: port } = await api.ready();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.hostname}:${port}/v1/ws`, "postroom.v1");
}

/** Say what was done, for eyes and ears. */
function say(text) {
  clearTimeout(silence);
  setText(byId("news"), text);
  silence = setTimeout(() => setText(byId("news"), ""), NEWS_MS);
}

function route() {
  const [whole, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, first = "", part] = whole.split("/");
  const found = VIEWS.find(({ path, one }) => path === `/${first}` && (part === undefined || one)) ?? VIEWS[0];
  const params = new URLSearchParams(query);
  if (part !== undefined && found.one) params.set(found.part, decoded(part));
  return { found, view: part !== undefined && found.one ? found.one : found.view, params };
}

/** A part of the address; what was typed wrongly stands for itself. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Show the view that the address names. */
function show(moved) {
  leaving?.abort();
  leaving = new AbortController();
  const { found, view, params } = route();
  content.replaceChildren(view(page, params, leaving.signal));
  const head = content.querySelector("h1");
  document.title = `${head.textContent} · Postroom`;
  for (const link of byId("views").querySelectorAll("a")) {
    if (link.hash === `#${found.path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (moved) {
    head.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** Begin what goes on for as long as somebody is let in. */
function enter() {
  if (polling !== null) return;
  polling = new AbortController();
  const stream = client.watch(JOURNAL, 200);
  polling.signal.addEventListener("abort", () => client.leave(stream));
  stream.addEventListener("event", ({ data }) => {
    incidents.add([data]);
    if (data.kind === "supervisor.failed" && data.offset > stream.joinedAt) say(`${data.data.actor} failed; see the journal`);
  });
  every(1000, polling.signal, async () => {
    let ready = null;
    try {
      ready = await api.ready();
      stats.take(ready, await api.get("/v1/stats"));
    } catch (error) {
      stats.fail(error.message, ready);
    }
  });
  show(false);
}

/** End it. */
function leave() {
  polling?.abort();
  leaving?.abort();
  polling = leaving = null;
  incidents.clear();
  content.replaceChildren();
}

const LOOKS = {
  open: ["connected", "good"],
  connecting: ["connecting", "plain"],
  waiting: ["disconnected", "bad"],
  ended: ["disconnected", "bad"],
};

/** Show how the connection is. */
function status() {
  const { phase, welcome, reason } = client;
  const out = phase === "ended" && client.login;
  setBadge(mark, ...(client.draining && phase === "open" ? ["draining", "warn"] : LOOKS[phase]));
  if (welcome !== null) setText(byId("who"), `${welcome.user} (${welcome.role})`);
  else if (out) setText(byId("who"), "");
  byId("logout").hidden = token() === null || out;
  document.querySelector("nav").hidden = out;
  if (phase === "open") {
    door.node.hidden = true;
    content.hidden = false;
    enter();
  } else if (phase === "ended" && client.login) {
    leave();
    const asked = token() !== null || !/token/i.test(reason);
    keepToken(null);
    byId("logout").hidden = true;
    document.title = "Log in · Postroom";
    door.show(asked ? `Not let in: ${reason}.` : null);
  }
  banner();
}

/** Say what is wrong with the connection, once; how long it still takes is shown, but not read out each second. */
function banner() {
  const { phase, reason, draining, expiring } = client;
  let text = "";
  const more = [];
  if (draining && phase === "open") {
    text = "The router is draining: it takes nothing new and is about to stop.";
  } else if (phase === "waiting" || (phase === "connecting" && client.attempt > 1)) {
    const why = draining ? "it was drained and is not back yet" : reason || lastReason;
    text = `Disconnected from the router: ${why}. What is shown is old. This page tries again by itself.`;
    more.push(el("span", { id: "countdown" }), button("Try now", () => client.retryNow()));
  } else if (phase === "ended" && !client.login) {
    text = `Disconnected for good: ${reason}. What is shown is old.`;
    more.push(button("Connect again", () => client.start()));
  } else if (expiring) {
    text = "Your token is about to expire. Put a new one in its place to stay connected.";
    more.push(renewal(renew));
  }
  if (reason) lastReason = reason;
  const key = `${text} ${more.length}`;
  if (key === bannerKey) return;
  bannerKey = key;
  setText(byId("banner"), text);
  byId("banner").hidden = text === "";
  byId("banner-more").replaceChildren(...more);
  byId("banner-more").hidden = more.length === 0;
  tick();
}
let bannerKey = null;
let lastReason = "";

async function renew(value) {
  try {
    await client.refresh(value);
    keepToken(value);
    say("The new token counts");
  } catch (error) {
    say(`The new token is not taken: ${error.message}`);
  }
}

/** Show how long it still takes. */
function tick() {
  const countdown = byId("countdown");
  if (countdown === null) return;
  const left = (client.retryAt - Date.now()) / 1000;
  setText(countdown, client.phase === "connecting" ? "Trying now …" : `Next attempt in ${duration(Math.ceil(Math.max(0, left)))}.`);
}

client.addEventListener("status", status);
addEventListener("hashchange", () => {
  if (polling !== null) show(true);
});
setInterval(tick, 500);
client.start();
