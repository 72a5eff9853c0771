// Quarantine: messages on which an actor failed over and over; try them again, or drop them.

import { path } from "./api.js";
import { button, el, keyed, setText } from "./dom.js";
import { confirm } from "./dialogs.js";
import { actorName } from "./explain.js";
import { ago, count, number } from "./format.js";
import { loading, trouble } from "./loading.js";

export function quarantine({ api, say }, _params, signal) {
  const list = el("ul", { class: "incidents" });
  const facts = el("p", { class: "muted", role: "status" });
  const problem = trouble();
  const retry = async (each) => {
    try {
      const { result } = await api.post(path`/v1/quarantine/${each.id}/retry`);
      problem.show(result.error ? `Tried again, and refused: ${result.error.message ?? result.error}` : "");
      if (result.handed_over) say("Tried again: its actor has it");
      else if (!result.error) say(`Tried again: it is event ${result.offset} of ${result.room}`);
    } catch (error) {
      problem.show(`Cannot try it again: ${error.message}`);
    }
    load.now();
  };
  const drop = async (each) => {
    const text = "It is gone for good; its publisher was told that it failed.";
    if (!(await confirm({ title: "Drop this message?", text, yes: "Drop" }))) return;
    try {
      await api.delete(path`/v1/quarantine/${each.id}`);
      problem.show("");
      say("The message is dropped");
    } catch (error) {
      problem.show(`Cannot drop it: ${error.message}`);
    }
    load.now();
  };
  const rows = new WeakMap();
  const create = (each) => {
    const node = el(
      "li",
      { class: "incident" },
      el("div", { class: "row" }, el("strong"), el("span", { class: "muted" })),
      el("p"),
      el("pre", { tabindex: "0", "aria-label": "The event's data" }),
      el(
        "div",
        { class: "row" },
        button("Try again", () => retry(rows.get(node)), { "aria-label": `Try message ${each.id} again` }),
        button("Drop", () => drop(rows.get(node)), { class: "danger", "aria-label": `Drop message ${each.id}` }),
      ),
    );
    return node;
  };
  const update = (node, each) => {
    rows.set(node, each);
    const [head, words, data] = node.children;
    setText(head.firstChild, `${actorName(each.actor)} failed ${times(each.deaths)} on ${each.event?.kind ?? each.message_type}`);
    setText(head.lastChild, `${ago(each.time)}, ${each.room ?? each.actor}, ${each.retries ? `tried again ${times(each.retries)}` : "not tried again yet"}`);
    setText(words, `${each.exception_type}: ${each.error}`);
    data.hidden = !each.event;
    setText(data, each.event ? JSON.stringify(each.event, null, 2) : "");
  };
  const load = loading("the quarantine", 2000, signal, () => api.get("/v1/quarantine"), (answer) => {
    keyed(list, answer.quarantine, (each) => each.id, create, update);
    const dropped = answer.dropped ? ` ${number(answer.dropped)} older ones had to give way.` : "";
    const rest = answer.total > answer.quarantine.length ? `, the newest ${answer.quarantine.length} are shown` : "";
    const words = answer.total ? `${count(answer.total, "message")}${rest}.` : "Nothing is in quarantine.";
    setText(facts, words + dropped);
  });
  return el(
    "div",
    {},
    el("h1", { text: "Quarantine", tabindex: "-1" }),
    el("p", { class: "muted", text: "Messages on which an actor failed twice. The actor goes on without them." }),
    load.node,
    problem.node,
    facts,
    list,
  );
}
