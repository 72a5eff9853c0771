// The supervision tree: who is there, how each is, how often it was restarted, what waits for it; and a restart.

import { path } from "./api.js";
import { badge, button, el, keyed, setBadge, setText } from "./dom.js";
import { confirm } from "./dialogs.js";
import { count, duration, number, times } from "./format.js";
import { loading, trouble } from "./loading.js";

const LOOK_BACK_S = 300;
const TONES = { running: "good", restarting: "warn", stopping: "warn" };

export function supervision({ api, incidents, say }, _params, signal) {
  const facts = el("p", { class: "muted" });
  const tree = el("ul", { class: "tree" });
  const problem = trouble();
  let recent = new Map();

  const restart = async ({ name }) => {
    const text = "It is stopped and made anew in its mailbox. What waits for it is handled by its successor.";
    if (!(await confirm({ title: `Restart ${name}?`, text, yes: "Restart" }))) return;
    try {
      await api.post(path`/v1/actors/${name}/restart`);
      problem.show("");
      say(`Restart of ${name} ordered`);
    } catch (error) {
      problem.show(`Cannot restart ${name}: ${error.message}`);
    }
  };

  const rows = new WeakMap();
  const create = () => {
    const node = el(
      "li",
      {},
      el(
        "div",
        { class: "actor" },
        el("span", { class: "name" }),
        badge(""),
        badge(""),
        el("span", { class: "muted facts" }),
        el("a", { text: "Journal" }),
        button("Restart", () => restart(rows.get(node))),
      ),
      el("ul"),
      el("p", { class: "muted more", hidden: true }),
    );
    return node;
  };
  const update = (node, each) => {
    rows.set(node, each);
    const [name, state, lately, words, journal, order] = node.firstChild.children;
    setText(name, each.name);
    setBadge(state, each.state, TONES[each.state] ?? "plain");
    const { failed, restarted } = recent.get(each.name) ?? { failed: 0, restarted: 0 };
    lately.hidden = failed + restarted === 0;
    setBadge(lately, failed ? `failed ${times(failed)} in 5 min` : `restarted ${times(restarted)} in 5 min`, "warn");
    setText(words, `${each.class} · ${count(each.restarts, "restart")} · ${count(each.mailbox_depth, "message")} waiting`);
    words.title = each.intensity ? `It may fail ${times(each.intensity)} in ${duration(each.within_s)}; after that it is given up` : "";
    journal.href = `#/journal?actor=${encodeURIComponent(each.name)}`;
    journal.setAttribute("aria-label", `Journal of ${each.name}`);
    order.hidden = each.name === "root";
    order.setAttribute("aria-label", `Restart ${each.name}`);
    const [, list, more] = node.children;
    const children = each.children ?? [];
    list.hidden = children.length === 0;
    keyed(list, children, (child) => child.name, create, update);
    const hidden = (each.children_total ?? children.length) - children.length;
    more.hidden = hidden <= 0;
    setText(more, `and ${number(hidden)} more that are well`);
  };

  const load = loading("the tree", 1000, signal, () => api.get("/v1/supervisor", { limit: 50 }), (answer) => {
    recent = incidents.within(LOOK_BACK_S);
    setText(facts, `Version ${answer.version}, up ${duration(answer.uptime_s)}. Those with failures and full mailboxes come first.`);
    keyed(tree, [answer.tree], (each) => each.name, create, update);
  });
  return el("div", {}, el("h1", { text: "Supervision", tabindex: "-1" }), facts, load.node, problem.node, tree);
}
