// One room: what its session is doing, its events as they come, who is in it; publish a test event, delete it.

import { path } from "./api.js";
import { badge, button, el, field, keyed, section, setBadge, setText } from "./dom.js";
import { confirm } from "./dialogs.js";
import { ago, clock, compact, count, duration, number } from "./format.js";
import { trouble } from "./loading.js";
import { every } from "./poll.js";
import { statusBadge } from "./rooms.js";
import { table } from "./table.js";

const SHOWN = 100;
const BRIEF = 240; // characters of an event that are shown at once
const LONG = 20_000; // and once it is opened
const EXAMPLES = {
  notification: { level: "info", message: "hello" },
  progress: { current: 3, total: 10 },
  alert: { severity: "high", title: "disk full" },
  session: { status: "started" },
  system: { status: "operational" },
};

export function room({ api, link, say }, params, signal) {
  const name = params.get("room");
  const stream = link.watch(name, 50);
  const status = badge("…");
  const doing = el("p", { class: "verdict" }, status, el("span"));
  const ended = trouble();
  const progress = el("ul", { class: "plain-list progress-list" });
  const facts = el("p", { class: "muted" });
  const alerts = el("ul", { class: "plain-list" });
  const events = el("ol", { class: "events", reversed: true, tabindex: "0", "aria-label": "Last events, the newest first" });
  const members = table(
    "Members",
    [
      { head: "User", class: "name", text: (member) => member.user },
      { head: "Connections", class: "num", text: (member) => number(member.connections) },
    ],
    (member) => member.user,
    "Nobody is in this room.",
  );
  const membersHead = el("h2", { text: "Members" });

  const showState = (state) => {
    statusBadge(status, state.status);
    setText(doing.lastChild, describe(state));
    const times = [];
    if (state.owner) times.push(`owner ${state.owner}`);
    if (state.started_at) times.push(`started ${ago(state.started_at)}`);
    if (state.ended_at) times.push(`ended ${ago(state.ended_at)}`);
    if (state.last_event_at) times.push(`last event ${ago(state.last_event_at)}`);
    const counts = Object.entries(state.counts ?? {}).map(([kind, many]) => `${number(many)} ${kind}`);
    if (counts.length) times.push(`events: ${counts.join(", ")}`);
    setText(facts, times.join(" · "));
    keyed(progress, Object.entries(state.progress ?? {}), ([key]) => key, createProgress, updateProgress);
    keyed(
      alerts,
      state.alerts ?? [],
      (each) => each.event_id,
      () => el("li", {}, badge(""), el("span")),
      (node, each) => {
        setBadge(node.firstChild, `${each.severity} alert`, "warn");
        setText(node.lastChild, `${each.title}${each.message ? `: ${each.message}` : ""} (${ago(each.time)}, not acknowledged)`);
      },
    );
  };
  const showEvents = () => {
    const newest = stream.events.items.slice(-SHOWN).reverse();
    keyed(events, newest, (each) => each.offset ?? each, createEvent, () => {});
    ended.show(stream.revoked === null ? "" : `This page no longer follows the room: ${stream.revoked}`);
  };
  let due = false;
  const eventually = () => {
    if (due) return; // a busy room is drawn ten times a second, not for each event
    due = true;
    setTimeout(() => {
      due = false;
      if (!signal.aborted) showEvents();
    }, 100);
  };
  for (const what of ["event", "attached", "revoked"]) stream.addEventListener(what, eventually, { signal });
  signal.addEventListener("abort", () => link.leave(stream));

  const problem = trouble();
  const ask = every(1000, signal, async () => {
    try {
      const answer = await link.client.state(name);
      const present = await link.client.presence(name);
      if (signal.aborted) return;
      showState(answer.state);
      setText(membersHead, `Members: ${number(present.count)}`);
      members.show(present.members);
      problem.show("");
    } catch (error) {
      if (error.code === "not_found") problem.show("This room has never been used, or it was deleted.");
      else problem.show(`Cannot load the room: ${error.message}`);
    }
  });
  stream.addEventListener("attached", ask, { signal });
  if (stream.state) showState(stream.state);
  showEvents();

  const remove = async () => {
    const text = "Its subscribers are told that it ended. Its history, state and alerts are gone for good.";
    if (!(await confirm({ title: `Delete ${name}?`, text, yes: "Delete", type: name }))) return;
    try {
      await api.delete(path`/v1/rooms/${name}`);
      say(`${name} is deleted`);
      location.hash = "#/rooms";
    } catch (error) {
      problem.show(`Cannot delete ${name}: ${error.message}`);
    }
  };
  return el(
    "div",
    {},
    el("p", {}, el("a", { href: "#/rooms", text: "All rooms" })),
    el("h1", { text: name, tabindex: "-1" }),
    problem.node,
    doing,
    progress,
    alerts,
    facts,
    el("section", {}, el("h2", { text: "Last events" }), ended.node, events),
    el("section", {}, membersHead, members.node),
    section("Publish a test event", publisher(api, name, say)),
    section("Delete", button("Delete this room", remove, { class: "danger" })),
  );
}

/** What the room's session is doing, as a sentence. */
export function describe(state) {
  const values = Object.values(state.progress ?? {});
  const last = values[values.length - 1];
  const alerts = state.alerts?.length ? ` ${count(state.alerts.length, "alert")} not acknowledged.` : "";
  if (!state.status && !last) return `No session runs here.${alerts}`;
  if (state.status && state.status !== "started") return `The session has ended: ${state.status}.${alerts}`;
  if (!last) return `The session runs and has made no progress yet.${alerts}`;
  const unit = last.unit ? ` ${last.unit}` : "";
  const of = last.total ? ` of ${number(last.total)}` : "";
  const left = typeof last.eta_s === "number" ? `, done in about ${duration(last.eta_s)}` : "";
  return `The session runs: ${number(last.current)}${of}${unit}${left}.${alerts}`;
}

function createProgress() {
  return el("li", {}, el("span", { class: "name" }), el("progress", { max: 100 }), el("span", { class: "muted" }));
}

function updateProgress(node, [key, value]) {
  const [label, bar, words] = node.children;
  const percent = typeof value.percent === "number" ? value.percent : null;
  setText(label, key === "default" ? "Progress" : key);
  bar.setAttribute("aria-label", `Progress ${key}`);
  if (percent === null) bar.removeAttribute("value");
  else bar.value = percent;
  const parts = [percent === null ? "" : `${number(percent)} %`, value.message ?? ""];
  if (typeof value.rate === "number") parts.push(`${number(value.rate)} per second`);
  if (typeof value.elapsed_s === "number") parts.push(`for ${duration(value.elapsed_s)}`);
  if (value.eta_s > 0) parts.push(`${duration(value.eta_s)} left`);
  setText(words, parts.filter(Boolean).join(" · "));
}

function createEvent(each) {
  if (each.gap) return el("li", { class: "gap", text: `Missing here: ${each.gap}` });
  return el(
    "li",
    {},
    el("span", { class: "muted num", text: `#${each.offset}` }),
    el("time", { datetime: each.time, class: "muted num", text: clock(each.time) }),
    el("span", { class: "kind", text: each.kind }),
    content(each.data),
  );
}

/** An event's data; what is long takes no more than a line or two, and is opened when it is wanted. */
function content(data) {
  const short = compact(data, BRIEF);
  if (short === compact(data, LONG)) return el("code", { text: short });
  return el("details", {}, el("summary", {}, el("code", { text: short })), el("code", { text: compact(data, LONG) }));
}

function publisher(api, name, say) {
  const kind = el("input", { type: "text", value: "notification", list: "event-kinds", required: true, autocomplete: "off" });
  const kinds = el("datalist", { id: "event-kinds" }, ...Object.keys(EXAMPLES).map((each) => el("option", { value: each })));
  const data = el("textarea", { rows: 4, spellcheck: "false" });
  data.value = JSON.stringify(EXAMPLES.notification, null, 2);
  kind.addEventListener("change", () => {
    const untouched = Object.values(EXAMPLES).some((each) => JSON.stringify(each, null, 2) === data.value);
    if (untouched && EXAMPLES[kind.value]) data.value = JSON.stringify(EXAMPLES[kind.value], null, 2);
  });
  const problem = trouble();
  const publish = async (event) => {
    event.preventDefault();
    let value;
    try {
      value = JSON.parse(data.value);
    } catch (error) {
      problem.show(`The data is not JSON: ${error.message}`);
      return;
    }
    try {
      const answer = await api.post("/v1/publish", { room: name, kind: kind.value, data: value });
      problem.show("");
      say(`Published as event ${answer.results[0].offset} of ${name}`);
    } catch (error) {
      problem.show(`Not published: ${error.message}`);
    }
  };
  return el(
    "form",
    { on: { submit: publish } },
    field("Kind", kind),
    kinds,
    field("Data (JSON)", data),
    problem.node,
    el("button", { type: "submit", text: "Publish" }),
  );
}
