// Rooms: which there are, found by the beginning of their names.

import { badge, button, el, field, section, setBadge, setText } from "./dom.js";
import { ago, count, number } from "./format.js";
import { loading } from "./loading.js";
import { table } from "./table.js";

const PAGE = 100;
const TONES = { started: "info", completed: "good", failed: "bad", cancelled: "warn" };

/** Show a session's status; rooms that are no sessions have none. */
export function statusBadge(node, status) {
  setBadge(node, status ?? "no session", TONES[status] ?? "plain");
}

export function rooms({ api }, params, signal) {
  const prefix = el("input", { type: "search", value: params.get("prefix") ?? "", autocomplete: "off", spellcheck: "false" });
  const name = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "session:42" });
  let after = [null];
  const list = table(
    "Rooms",
    [
      {
        head: "Room",
        class: "name",
        make: () => el("a"),
        update: (node, room) => {
          node.href = `#/rooms/${encodeURIComponent(room.room)}`;
          setText(node, room.room);
        },
      },
      { head: "Status", make: () => badge(""), update: (node, room) => statusBadge(node, room.status) },
      { head: "Owner", text: (room) => room.owner ?? "–" },
      { head: "Subscribers", class: "num", text: (room) => number(room.subscribers) },
      { head: "Events", class: "num", text: (room) => number(room.offset) },
      { head: "Alerts", class: "num", text: (room) => number(room.alerts) },
      { head: "Last event", class: "num", text: (room) => (room.open ? ago(room.last_event_at) : "closed, kept") },
    ],
    (room) => room.room,
    "No room has a name that begins so.",
  );
  const facts = el("p", { class: "muted", role: "status" });
  let next = null;
  const load = loading("rooms", 2000, signal, () => api.get("/v1/rooms", { prefix: prefix.value, limit: PAGE, after: after.at(-1) }), (answer) => {
    list.show(answer.rooms);
    next = answer.next;
    forward.disabled = next === null;
    back.disabled = after.length < 2;
    setText(facts, `${count(answer.rooms.length, "room")}${next === null && after.length < 2 ? "" : ` on page ${after.length}`}`);
  });
  const turn = (pages) => {
    after = pages;
    load.now();
  };
  const back = button("Previous", () => turn(after.slice(0, -1)), { disabled: true });
  const forward = button("Next", () => turn([...after, next]), { disabled: true });
  prefix.addEventListener("input", () => turn([null]));
  const open = (event) => {
    event.preventDefault();
    if (name.value.trim()) location.hash = `#/rooms/${encodeURIComponent(name.value.trim())}`;
  };
  return el(
    "div",
    {},
    el("h1", { text: "Rooms", tabindex: "-1" }),
    el("div", { class: "row filters" }, field("Name begins with", prefix)),
    load.node,
    facts,
    list.node,
    el("div", { class: "row" }, back, forward),
    section(
      "Go to a room",
      el("form", { class: "row filters", on: { submit: open } }, field("Name", name), el("button", { type: "submit", text: "Open" })),
    ),
  );
}
