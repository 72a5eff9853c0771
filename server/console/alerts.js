// Alerts that nobody has acknowledged yet.

import { badge, button, el, setBadge, setText } from "./dom.js";
import { ago, count } from "./format.js";
import { loading, trouble } from "./loading.js";
import { table } from "./table.js";

const TONES = { critical: "bad", high: "bad", medium: "warn", low: "plain" };

export function alerts({ api, link, say }, _params, signal) {
  const facts = el("p", { class: "muted", role: "status" });
  const problem = trouble();
  const acknowledge = async ({ room, event_id: id, title }) => {
    try {
      await link.client.ack(room, id);
      problem.show("");
      say(`Acknowledged: ${title}`);
    } catch (error) {
      problem.show(`Cannot acknowledge ${title}: ${error.message}`);
    }
    load.now();
  };
  const list = table(
    "Alerts that nobody has acknowledged",
    [
      { head: "Severity", make: () => badge(""), update: (node, each) => setBadge(node, each.severity, TONES[each.severity] ?? "plain") },
      { head: "Alert", class: "wide", text: (each) => `${each.title}${each.message ? `: ${each.message}` : ""}` },
      {
        head: "Room",
        class: "name",
        make: () => el("a"),
        update: (node, each) => {
          node.href = `#/rooms/${encodeURIComponent(each.room)}`;
          setText(node, each.room);
        },
      },
      { head: "Since", class: "num", text: (each) => `${ago(each.time)}${each.escalated ? ", escalated" : ""}` },
      {
        head: "Action",
        make: (current) => button("Acknowledge", () => acknowledge(current())),
        update: (node, each) => node.setAttribute("aria-label", `Acknowledge ${each.title} in ${each.room}`),
      },
    ],
    (each) => `${each.room} ${each.event_id}`,
    "Every alert is acknowledged.",
  );
  const load = loading("alerts", 1000, signal, () => api.get("/v1/alerts", { limit: 100 }), (answer) => {
    list.show(answer.alerts);
    setText(facts, answer.alerts.length ? `${count(answer.alerts.length, "alert")}${answer.more ? ", and more" : ""}.` : "");
  });
  return el("div", {}, el("h1", { text: "Alerts", tabindex: "-1" }), load.node, problem.node, facts, list.node);
}
