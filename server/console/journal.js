// The supervisor journal as it happens: what failed, why, what was done, what clients noticed.

import { badge, button, el, field, keyed, setBadge, setText } from "./dom.js";
import { beginning, KINDS, noticed, outcome, sentence, title, took, words } from "./explain.js";
import { ago, clock, count, ZONE } from "./format.js";
import { loading } from "./loading.js";

const SHOWN = 100;
const LONG = new Set(["traceback"]);
const ELSEWHERE = new Set(["offset", "time", "kind"]);

export function journal({ api, incidents }, params, signal) {
  const find = el("input", { type: "search", value: params.get("find") ?? "", autocomplete: "off" });
  const actor = el("input", { type: "search", value: params.get("actor") ?? "", list: "journal-actors", autocomplete: "off" });
  const actors = el("datalist", { id: "journal-actors" });
  const kind = el("select", {}, el("option", { value: "", text: "all" }), ...KINDS.map((each) => el("option", { value: each, text: words(each) })));
  const list = el("ol", { class: "incidents", reversed: true });
  const shown = el("p", { class: "muted", role: "status" });

  const matches = (each) => {
    if (kind.value && each.kind !== kind.value) return false;
    if (actor.value && !`${each.actor ?? each.target ?? ""}`.toLowerCase().includes(actor.value.toLowerCase())) return false;
    return !find.value || JSON.stringify(each).toLowerCase().includes(find.value.toLowerCase());
  };
  const show = () => {
    const groups = incidents.grouped(matches);
    const rest = groups.length > SHOWN ? `, the newest ${SHOWN} are shown` : "";
    setText(shown, groups.length ? `${count(groups.length, "incident")}${rest}` : "Nothing matches, or nothing has happened.");
    keyed(list, groups.slice(0, SHOWN), (group) => group.key, createIncident, updateIncident);
    const names = [...new Set(incidents.entries.map((each) => each.actor).filter(Boolean))].slice(-100);
    keyed(actors, names, (name) => name, (name) => el("option", { value: name }), () => {});
  };
  for (const input of [find, actor, kind]) input.addEventListener("input", show);
  const clear = button("Show all", () => {
    find.value = actor.value = kind.value = "";
    show();
  });
  incidents.addEventListener("change", show, { signal });
  const ages = setInterval(show, 5000);
  signal.addEventListener("abort", () => clearInterval(ages));
  const history = loading("earlier entries", 30000, signal, () => api.get("/v1/supervisor/journal", { limit: 500 }), (answer) => {
    incidents.add(answer.entries);
  });
  show();
  return el(
    "div",
    {},
    el("h1", { text: "Supervisor journal", tabindex: "-1" }),
    el("p", { class: "muted", text: `The newest first, as it happens. Each incident is a failure or an order, and what came of it. Times are those of ${ZONE}.` }),
    el("search", { class: "row filters" }, field("Text", find), field("Actor", actor), field("Kind", kind), clear),
    actors,
    history.node,
    shown,
    list,
  );
}

function createIncident() {
  return el(
    "li",
    { class: "incident" },
    el("div", { class: "row" }, badge(""), el("strong"), el("span", { class: "muted" })),
    el("ol", { class: "steps" }),
    el("p", { class: "noticed", hidden: true }),
    el("details", {}, el("summary", { text: "Details" }), el("div")),
  );
}

function updateIncident(node, group) {
  const [head, steps, notice, details] = node.children;
  const [mark, text, when] = head.children;
  setBadge(mark, ...outcome(group));
  setText(text, title(group));
  const time = took(group);
  setText(when, `${clock(group.first.time)}, ${ago(group.first.time)}${time ? `, over within ${time}` : ""}`);
  const first = beginning(group);
  keyed(
    steps,
    group.entries.filter((each) => each !== first),
    (each) => each.offset,
    () => el("li"),
    (step, each) => setText(step, sentence(each)),
  );
  steps.hidden = group.entries.length < 2;
  const known = noticed(group);
  notice.hidden = known === null;
  setText(notice, `Clients noticed: ${known ?? ""}`);
  const inside = details.lastChild;
  keyed(inside, group.entries, (each) => each.offset, createDetails, () => {});
}

/** All fields of an entry. */
function createDetails(each) {
  const fields = Object.entries(each).filter(([name, value]) => !ELSEWHERE.has(name) && !LONG.has(name) && value !== null && value !== undefined);
  return el(
    "section",
    {},
    el("h3", { text: `${words(each.kind)}, entry ${each.offset}, ${each.time}` }),
    el(
      "dl",
      {},
      ...fields.flatMap(([name, value]) => [
        el("dt", { text: name.replace(/_/g, " ") }),
        el("dd", { text: typeof value === "object" ? JSON.stringify(value) : String(value) }),
      ]),
    ),
    ...[...LONG].filter((name) => each[name]).map((name) => el("pre", { tabindex: "0", "aria-label": name, text: each[name] })),
  );
}
