// Connections: who is here, who is slow, in which rooms; and an end to one.

import { path } from "./api.js";
import { badge, button, el, field, section, setBadge, setText } from "./dom.js";
import { confirm } from "./dialogs.js";
import { ago, bytes, count, moment, number, times } from "./format.js";
import { loading, trouble } from "./loading.js";
import { table } from "./table.js";

const PAGE = 100;
const BEHIND = 1; // an event on its way is no lag
const TONES = { open: "good", hello: "plain", repairing: "warn", closing: "warn" };

/** Whether somebody does not keep up. */
export function isSlow({ lag, outbox_bytes: waiting }) {
  return lag > BEHIND || waiting > 0;
}

/** Whose it is, and of which program: on a router without tokens everybody is the same user. */
export function whose({ user, client }) {
  return client ? `${user} with ${client}` : user;
}

/** The same in a word: [word, tone]. */
function pace(each) {
  return isSlow(each) ? ["slow", "warn"] : ["keeps up", "good"];
}

function journalOf(id) {
  return `#/journal?actor=${encodeURIComponent(`connection:${id}`)}`;
}

async function close({ api, say }, { id, user }, problem) {
  const text = `Its client (user ${user}) is told that an operator closed it, and is asked not to come back.`;
  if (!(await confirm({ title: `Close connection ${id}?`, text, yes: "Close it" }))) return false;
  try {
    await api.delete(path`/v1/connections/${id}`);
    problem.show("");
    say(`Connection ${id} of ${user} is closed`);
    return true;
  } catch (error) {
    problem.show(`Cannot close connection ${id}: ${error.message}`);
    return false;
  }
}

export function connections(page, params, signal) {
  const { api } = page;
  const user = el("input", { type: "search", value: params.get("user") ?? "", autocomplete: "off", spellcheck: "false" });
  const sort = el(
    "select",
    {},
    el("option", { value: "lag", text: "the most events behind" }),
    el("option", { value: "outbox", text: "the most bytes waiting" }),
    el("option", { value: "id", text: "the oldest" }),
  );
  const problem = trouble();
  const facts = el("p", { class: "muted", role: "status" });
  const list = table(
    "Connections",
    [
      {
        head: "Connection",
        class: "id",
        make: () => el("a"),
        update: (node, each) => {
          node.href = `#/connections/${encodeURIComponent(each.id)}`;
          setText(node, each.id);
        },
      },
      {
        head: "User",
        class: "name",
        text: (each) => (each.user ? `${each.user} (${each.role})${each.client ? ` · ${each.client}` : ""}` : "–"),
      },
      { head: "State", make: () => badge(""), update: (node, each) => setBadge(node, each.state, TONES[each.state] ?? "plain") },
      { head: "Pace", make: () => badge(""), update: (node, each) => setBadge(node, ...pace(each)) },
      { head: "Behind", class: "num", text: (each) => number(each.lag) },
      { head: "Waiting", class: "num", text: (each) => bytes(each.outbox_bytes) },
      { head: "Rooms", class: "num", text: (each) => number(each.rooms) },
      {
        head: "Restarts",
        class: "num",
        make: () => el("a"),
        update: (node, each) => {
          setText(node, each.restarts ? `${number(each.restarts)}: why` : "0");
          if (each.restarts) node.href = journalOf(each.id);
          else node.removeAttribute("href");
        },
      },
      {
        head: "Action",
        make: (current) => button("Close", async () => (await close(page, current(), problem)) && load.now()),
        update: (node, each) => node.setAttribute("aria-label", `Close connection ${each.id} of ${each.user}`),
      },
    ],
    (each) => each.id,
    "Nobody is here: no client of this name is connected.",
  );
  const load = loading("connections", 1000, signal, () => api.get("/v1/connections", { user: user.value, sort: sort.value, limit: PAGE }), (answer) => {
    list.show(answer.connections);
    const slow = answer.connections.filter(isSlow).length;
    const shown = answer.total > answer.connections.length ? `, the first ${answer.connections.length} are shown` : "";
    setText(facts, `${count(answer.total, "connection")}${shown}; ${slow ? `${number(slow)} of them slow` : "all keep up"}`);
  });
  user.addEventListener("input", load.now);
  sort.addEventListener("input", load.now);
  return el(
    "div",
    {},
    el("h1", { text: "Connections", tabindex: "-1" }),
    el("div", { class: "row filters" }, field("User", user), field("First", sort)),
    load.node,
    problem.node,
    facts,
    list.node,
  );
}

export function connection(page, params, signal) {
  const id = params.get("id");
  const { api } = page;
  const problem = trouble();
  const doing = el("p", { class: "verdict" }, badge("…"), el("span"));
  const facts = el("dl", {});
  const restarts = el("p", {}, el("a", { href: journalOf(id), text: "Why it was restarted: its part of the supervisor journal" }));
  const list = table(
    "Rooms of this connection",
    [
      {
        head: "Room",
        class: "name",
        make: () => el("a"),
        update: (node, each) => {
          node.href = `#/rooms/${encodeURIComponent(each.room)}`;
          setText(node, each.room);
        },
      },
      { head: "Got up to", class: "num", text: (each) => number(each.offset) },
      { head: "Newest", class: "num", text: (each) => number(each.top) },
      { head: "Behind", class: "num", text: (each) => number(each.lag) },
      { head: "Joined", text: (each) => (each.own ? "by itself" : "on request") },
    ],
    (each) => each.room,
    "It is in no room.",
  );
  const load = loading("the connection", 1000, signal, () => api.get(path`/v1/connections/${id}`), (each) => {
    setBadge(doing.firstChild, ...pace(each));
    setText(
      doing.lastChild,
      `User ${each.user} (${each.role}) is ${each.lag > 0 ? `${count(each.lag, "event")} behind` : "up to date"}, ` +
        `${bytes(each.outbox_bytes)} wait for it; ${each.restarts ? `restarted ${times(each.restarts)}` : "never restarted"}.`,
    );
    restarts.hidden = !each.restarts;
    const known = { State: each.state, Client: each.client || "unknown", Address: each.address, Connected: `${moment(each.connected_at)} (${ago(each.connected_at)})` };
    facts.replaceChildren(...Object.entries(known).flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value ?? "–" })]));
    list.show(each.room_list);
  });
  const end = button("Close this connection", async () => {
    const user = doing.lastChild.textContent.split(" ")[1];
    if (await close(page, { id, user }, problem)) location.hash = "#/connections";
  }, { class: "danger" });
  return el(
    "div",
    {},
    el("p", {}, el("a", { href: "#/connections", text: "All connections" })),
    el("h1", { text: `Connection ${id}`, tabindex: "-1" }),
    load.node,
    problem.node,
    doing,
    restarts,
    facts,
    section("Rooms", list.node),
    section("Close", end),
  );
}
