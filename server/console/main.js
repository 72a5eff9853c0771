// The page: connects, shows the view that the address names, and says how the connection is.

import { alerts } from "./alerts.js";
import { Api } from "./api.js";
import { connection, connections } from "./connections.js";
import { badge, button, el, setBadge, setText } from "./dom.js";
import { duration } from "./format.js";
import { Incidents } from "./incidents.js";
import { journal } from "./journal.js";
import { Link } from "./link.js";
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
const link = new Link(address, token);
const stats = new Stats();
const incidents = new Incidents();
const page = { api, link, stats, incidents, say };
const main = byId("main");
const door = login((value) => {
  keepToken(value);
  link.start();
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
  link.start();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

/** Where the router's WebSocket is now. */
async function address() {
  const { ws_port: port } = await api.ready();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${port}/v1/ws`;
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
  const stream = link.watch(JOURNAL, 200);
  polling.signal.addEventListener("abort", () => link.leave(stream));
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
  const { phase, reason, login: out } = link;
  const { draining, welcome } = link.client;
  setBadge(mark, ...(draining && phase === "open" ? ["draining", "warn"] : LOOKS[phase]));
  if (out) setText(byId("who"), "");
  else if (welcome !== null) setText(byId("who"), `${welcome.user} (${welcome.role})`);
  byId("logout").hidden = token() === null || out;
  document.querySelector("nav").hidden = out;
  if (phase === "open") {
    door.node.hidden = true;
    content.hidden = false;
    enter();
  } else if (out) {
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
  const { phase, reason, expiring } = link;
  const { draining } = link.client;
  let text = "";
  const more = [];
  if (draining && phase === "open") {
    text = "The router is draining: it takes nothing new and is about to stop.";
  } else if (phase === "waiting" || (phase === "connecting" && reason)) {
    const why = draining ? "it was drained and is not back yet" : reason.replace(/\.$/, "");
    text = `Disconnected from the router: ${why}. What is shown is old. This page tries again by itself.`;
    more.push(el("span", { id: "countdown" }), button("Try now", () => link.client.retryNow()));
  } else if (phase === "ended" && !link.login) {
    text = `Disconnected for good: ${reason.replace(/\.$/, "")}. What is shown is old.`;
    more.push(button("Connect again", () => link.start()));
  } else if (expiring) {
    text = "Your token is about to expire. Put a new one in its place to stay connected.";
    more.push(renewal(renew));
  }
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

async function renew(value) {
  try {
    await link.refresh(value);
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
  const { phase, retryAt } = link.client;
  const left = (retryAt - Date.now()) / 1000;
  setText(countdown, phase === "connecting" ? "Trying now …" : `Next attempt in ${duration(Math.ceil(Math.max(0, left)))}.`);
}

link.addEventListener("status", status);
addEventListener("hashchange", () => {
  if (polling !== null) show(true);
});
setInterval(tick, 500);
link.start();
